/** The environment in which an application has a fake clock; SIGCONT sets it by FAKE_DATE or FAKE_TIME. */
export const fakeClock = {
  NODE_OPTIONS: `--import ${new URL('../fixtures/fake-clock.js', import.meta.url).href}`,
};
