/** The same page on Express, with the metrics of a package. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Eta } from 'eta';
import express from 'express';
import prometheusBundle from 'express-prom-bundle';

const eta = new Eta({
  views: fileURLToPath(new URL('../../views', import.meta.url)),
  cache: true,
});

const text = JSON.parse(readFileSync(new URL('../../views/text/en.json', import.meta.url), 'utf8'));

const app = express();
app.use(prometheusBundle({ includeMethod: true, includePath: true }));

app.get('/my-view', async (request, response) => {
  const seconds = Number(request.query.seconds ?? 0.1);
  await sleep(seconds * 1000);
  response.send(eta.render('my-view', { text, seconds, query: () => '' }));
});

app.get('/trigger-error/', (_request, response) => {
  const divisionByZero = 1n / 0n;
  response.send(eta.render('my-view', { divisionByZero }));
});

app.listen(process.env.PORT, '127.0.0.1');
