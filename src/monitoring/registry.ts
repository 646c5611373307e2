import {
  type Counter,
  collectDefaultMetrics,
  Registry,
  type RegistryContentType,
  register,
} from 'prom-client';

/**
 * prom-client's default registry in the older format, with the metrics of other packages. The registry
 * itself stays as it is, for an application that merges it, pushes it or serves it.
 */
export const textRegistry = viewOf(Registry.PROMETHEUS_CONTENT_TYPE, '_total');
/** The same series in OpenMetrics, with their exemplars. */
export const openMetricsRegistry = viewOf(Registry.OPENMETRICS_CONTENT_TYPE, '');

function viewOf(contentType: RegistryContentType, suffix: string): Registry<RegistryContentType> {
  return Object.create(register, {
    contentType: { value: contentType },
    getMetricsAsArray: {
      value: () => register.getMetricsAsArray().map((metric) => withSuffix(metric, suffix)),
    },
  });
}

/**
 * prom-client writes "_total" behind the name of a counter in OpenMetrics, and takes it out of the
 * name for good before that. So it gets a copy that has the name which it needs, and not the counter.
 */
function withSuffix(metric: ReturnType<typeof register.getMetricsAsArray>[number], suffix: string) {
  const get = async () => {
    const counter = await (metric as unknown as Counter).get();
    return { ...counter, name: counter.name.replace(/(_total)?$/, suffix) };
  };
  return (metric as { type?: unknown }).type === 'counter' ? { get } : metric;
}

/** The metrics of the process, unless the application has prom-client collect them: twice is an error. */
export function collectProcessMetrics(): void {
  if (!register.getSingleMetric('process_cpu_user_seconds_total')) collectDefaultMetrics();
}
