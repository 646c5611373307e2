/** The same page on Express, with the metrics of a package. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Eta } from 'eta';
import express from 'express';
import prometheusBundle from 'express-prom-bundle';
import { context, englishText as text, views } from './page.js';

const eta = new Eta({ views, cache: true });

const app = express();
app.use(prometheusBundle({ includeMethod: true, includePath: true }));

app.get('/my-view', async (request, response) => {
  const seconds = Number(request.query.seconds ?? 0.1);
  await sleep(seconds * 1000);
  const search = `?${new URLSearchParams(request.query)}`;
  response.send(eta.render('my-view', { ...context, text, search, seconds }));
});

app.get('/trigger-error/', (_request, response) => {
  const divisionByZero = 1n / 0n;
  response.send(eta.render('my-view', { divisionByZero }));
});

app.listen(process.env.PORT, '127.0.0.1');
