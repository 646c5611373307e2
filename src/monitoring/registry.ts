import {
  type Counter,
  collectDefaultMetrics,
  Registry,
  type RegistryContentType,
  register,
} from 'prom-client';

/** prom-client's default registry, so that the metrics of other packages are in it, too. */
export const registry = register as Registry<RegistryContentType>;

// Exemplars are part of OpenMetrics, and not of the older format.
registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
collectDefaultMetrics();

/** The same metrics in the older format: every series under the same name, and no exemplars. */
export const textRegistry: Registry<RegistryContentType> = Object.create(registry, {
  contentType: { value: Registry.PROMETHEUS_CONTENT_TYPE },
  getMetricsAsArray: { value: () => registry.getMetricsAsArray().map(namedAsInOpenMetrics) },
});

/** A registry that writes OpenMetrics takes "_total" out of the names of its counters for good. */
function namedAsInOpenMetrics(metric: ReturnType<typeof registry.getMetricsAsArray>[number]) {
  const get = async () => {
    const counter = await (metric as unknown as Counter).get();
    return { ...counter, name: counter.name.replace(/(_total)?$/, '_total') };
  };
  return (metric as { type?: unknown }).type === 'counter' ? { get } : metric;
}
