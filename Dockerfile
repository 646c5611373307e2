FROM node:24-bookworm-slim AS manifest
WORKDIR /app
COPY package.json package-lock.json .npmrc ./

FROM manifest AS build
RUN --mount=type=cache,target=/root/.npm npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build

FROM manifest AS dependencies
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev

FROM node:24-bookworm-slim AS sources
WORKDIR /app
COPY package.json ./
COPY views views
COPY scripts/traffic.ts scripts/
# The source maps point here: without these files events show compiled lines instead of TypeScript.
COPY src src
# The guide quotes these.
COPY prometheus.yml alertmanager.yml ./
COPY prometheus/rules prometheus/rules
COPY grafana/dashboards grafana/dashboards
# With a strict umask, a clone is readable by its owner only, not by USER node below.
RUN chmod -R go+rX .

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=sources /app ./
COPY --from=build /app/dist dist
# A new volume gets the owner of the directory that it is mounted on.
RUN install -d -o node -g node -m 700 /var/spool/sentry
USER node
EXPOSE 8000 9464
# No HEALTHCHECK: the traffic service runs this image, too, and doesn't listen. The
# health check is in docker-compose.yml.
CMD ["node", "--enable-source-maps", "--import", "./dist/instrument.js", "dist/server.js"]
