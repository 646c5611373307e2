/** The same page on Express. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Eta } from 'eta';
import express from 'express';
import { context, views } from './page.js';

const eta = new Eta({ views, cache: true });
const app = express();

app.get('/my-view', async (request, response) => {
  const seconds = Number(request.query.seconds ?? 0.1);
  await sleep(seconds * 1000);
  response.send(eta.render('my-view', { ...context, seconds }));
});

app.get('/trigger-error/', (_request, response) => {
  const divisionByZero = 1n / 0n;
  response.send(eta.render('my-view', { ...context, divisionByZero }));
});

app.listen(process.env.PORT, '127.0.0.1');
