import { readFileSync } from 'node:fs';
import fastifyAccepts from '@fastify/accepts';
import type { FastifyInstance, FastifyReply } from 'fastify';
import fp from 'fastify-plugin';
import { recordedTraceId } from '../monitoring/index.ts';
import { readCookie, setCookie } from './visitor.ts';

/** The languages of the pages; the first is for visitors who want none of them. */
const LANGUAGES = ['en', 'ru'];
const COOKIE = 'language';

/** The text of all pages, a file for each language. It is HTML, as the templates are. */
const texts = new Map(
  LANGUAGES.map((language) => {
    const file = new URL(`../../views/text/${language}.json`, import.meta.url);
    const text = JSON.parse(readFileSync(file, 'utf8'));
    return [language, text as { guide: { steps: Record<string, object> } }];
  }),
);

/**
 * Every view gets its `text` in the language that the visitor chooses with `?language=` or has
 * chosen before, or else in the one that the browser prefers; the query of its address (`search`), for
 * the link to the same page in another language; the step of the guide that the visitor comes `from`,
 * if the address names one; and the id of the request's trace, if that is recorded. Such a page is
 * stored nowhere: it is for this visitor, at this moment.
 */
async function language(app: FastifyInstance) {
  await app.register(fastifyAccepts);
  // What the view plugin gives to every view. Only a reply that has a view asks for it.
  app.decorateReply('locals', {
    getter(this: FastifyReply) {
      this.header('cache-control', 'no-store').header('vary', 'accept-language, cookie');
      const { url, query } = this.request;
      const { language: choice = '', from = '' } = query as { language?: string; from?: string };
      if (texts.has(choice)) setCookie(this, COOKIE, choice);
      const text =
        texts.get(choice) ??
        texts.get(readCookie(this.request, COOKIE)) ??
        texts.get(this.request.language(LANGUAGES) || 'en');
      const isStep = text && Object.hasOwn(text.guide.steps, from);
      return {
        text,
        recordedTrace: recordedTraceId(),
        from: isStep ? from : '',
        search: url.includes('?') ? url.slice(url.indexOf('?')) : '?',
      };
    },
  });
}

export default fp(language, { name: 'language', dependencies: ['visitor'] });
