import { collectDefaultMetrics, Registry, type RegistryContentType, register } from 'prom-client';

/** prom-client's default registry, so that the metrics of other packages are in it, too. */
export const registry = register as Registry<RegistryContentType>;

// Exemplars are part of OpenMetrics, and not of the older format.
registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
collectDefaultMetrics();
