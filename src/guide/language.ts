import { readFileSync } from 'node:fs';
import fastifyAccepts from '@fastify/accepts';
import type { FastifyInstance, FastifyReply } from 'fastify';
import fp from 'fastify-plugin';
import { recordedTraceId } from '../monitoring/index.ts';
import type { Step } from './steps.ts';
import { readCookie, setCookie } from './visitor.ts';

interface Texts {
  [name: string]: string | Texts;
}

/** The languages of the pages; the first is the default. */
const LANGUAGES = ['en', 'ru'];
const COOKIE = 'language';

/** The texts of all pages, one file per language. They are HTML, as the templates are. */
const texts = new Map(LANGUAGES.map((language) => [language, readTexts(language)]));

function readTexts(language: string): Texts {
  const file = new URL(`../../views/text/${language}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** The path of each text, such as "guide.title". */
const pathsOf = (texts: Texts, prefix = ''): string[] =>
  Object.entries(texts).flatMap(([name, value]) =>
    typeof value === 'string' ? [prefix + name] : pathsOf(value, `${prefix}${name}.`),
  );

/** @throws if a language lacks one of the texts. */
function checkTexts(paths: string[]): void {
  for (const [language, own] of texts) {
    const known = new Set(pathsOf(own));
    const missing = paths.filter((path) => !known.has(path));
    if (missing.length > 0) throw new Error(`views/text/${language}.json lacks ${missing}`);
  }
}

/** @throws if a language lacks a text of these steps. */
export function checkSteps(steps: Step[]): void {
  const names = (step: Step) => [
    ...['title', 'place', 'article', 'here'],
    ...Object.keys(step.commands ?? {}).map((name) => `commands.${name}`),
    ...Object.keys(step.do ?? {}).map((name) => `do.${name}`),
    ...Object.keys(step.see ?? {}).map((name) => `see.${name}`),
  ];
  checkTexts(steps.flatMap((step) => names(step).map((name) => `guide.steps.${step.id}.${name}`)));
}

/**
 * Gives every view its `text` in the language that the visitor chooses with `?language=` or has
 * chosen before, or else in the one that the browser prefers; the step of the guide that the visitor
 * comes `from`; and the id of the request's trace, if it is recorded.
 */
async function language(app: FastifyInstance) {
  checkTexts([...texts.values()].flatMap((own) => pathsOf(own)));
  await app.register(fastifyAccepts);

  // @fastify/view passes them to every view.
  app.decorateReply('locals', {
    getter(this: FastifyReply) {
      const { request } = this;
      const { language: choice = '', from = '' } = request.query as Record<string, string>;
      if (texts.has(choice)) setCookie(this, COOKIE, choice);
      const text =
        texts.get(choice) ??
        texts.get(readCookie(request, COOKIE)) ??
        texts.get(request.language(LANGUAGES) || 'en');
      this.header('cache-control', 'no-store');
      this.header('vary', 'accept, accept-language, cookie');
      const isStep = /^[a-z-]+$/.test(from);
      return { text, recordedTrace: recordedTraceId(), from: isStep ? from : '' };
    },
  });
}

export default fp(language, { name: 'language', dependencies: ['visitor'] });
