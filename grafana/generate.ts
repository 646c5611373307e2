import { writeFileSync } from 'node:fs';
import { buildDashboard } from './dashboard.ts';

writeFileSync(
  new URL('dashboards/application.json', import.meta.url),
  `${JSON.stringify(buildDashboard(), null, 2)}\n`,
);
