import { readFileSync } from 'node:fs';
import fastifyAccepts from '@fastify/accepts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { readCookie, setCookie } from './visitor.ts';

/** The languages of the pages; the first is for visitors who want none of them. */
const LANGUAGES = ['en', 'ru'];
const COOKIE = 'language';

/** The text of all pages, a file for each language. It is HTML, as the templates are. */
const texts = new Map(
  LANGUAGES.map((language) => {
    const file = new URL(`../../views/text/${language}.json`, import.meta.url);
    return [language, JSON.parse(readFileSync(file, 'utf8')) as object];
  }),
);

async function language(app: FastifyInstance) {
  await app.register(fastifyAccepts);
}

/**
 * The text for a page, in the language that the visitor chooses with `?language=` or has chosen
 * before, or else in the one that the browser prefers. Such a page is stored nowhere: it is for this
 * visitor, at this moment.
 */
export function textFor(request: FastifyRequest, reply: FastifyReply): object | undefined {
  reply.header('cache-control', 'no-store').header('vary', 'accept-language, cookie');
  const { language: choice = '' } = request.query as { language?: string };
  if (texts.has(choice)) setCookie(reply, COOKIE, choice, { signed: false });
  return (
    texts.get(choice) ??
    texts.get(readCookie(request, COOKIE)) ??
    texts.get(request.language(LANGUAGES) || 'en')
  );
}

export default fp(language, { name: 'language', dependencies: ['visitor'] });
