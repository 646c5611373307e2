/**
 * Milliseconds that each part of a stop takes at most, in their order. Container engines kill a
 * process 10 seconds after they have asked it to stop.
 */
export const stopBudget = {
  /** Clients of kept-alive connections are told to close them. */
  farewell: 1_000,
  /** Requests that are still answered. */
  requests: 4_000,
  /** What the application has to close. */
  hooks: 1_000,
  /** The last events are sent. */
  flush: 2_000,
  /** What could not be sent is written to the disk, and what is lost to the log. */
  save: 1_000,
};

export const stopTime = Object.values(stopBudget).reduce((sum, part) => sum + part, 0);
