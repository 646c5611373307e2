#!/bin/sh
# Starts Jaeger, whose pages link a span to its event in the configured tracker. Jaeger reads the
# links from a file without expanding variables, so the file is written here.
set -eu

if [ -n "${SENTRY_EVENT_URL:-}" ]; then
  event_link='{"type": "tags", "key": "sentry.event_id", "text": "The event in the tracker", "url": "'$SENTRY_EVENT_URL'#{sentry.event_id}"}'
fi
printf '{"linkPatterns": [%s]}\n' "${event_link:-}" > /tmp/ui.json

# The program's path depends on who built the image.
for jaeger in /cmd/jaeger/jaeger-linux /bin/jaeger; do
  [ ! -x "$jaeger" ] || exec "$jaeger" --config /etc/jaeger/config.yaml
done
echo "There is no Jaeger in this image." >&2
exit 1
