#!/bin/sh
# Starts Jaeger. A span's event is a link on its pages: to the tracker that the settings name. Jaeger
# reads its links from a file and fills in no variables, so the file is written here.
set -eu

if [ -n "${SENTRY_EVENT_URL:-}" ]; then
  event_link='{"type": "tags", "key": "sentry.event_id", "text": "The event in the tracker", "url": "'$SENTRY_EVENT_URL'#{sentry.event_id}"}'
fi
printf '{"linkPatterns": [%s]}\n' "${event_link:-}" > /tmp/ui.json

# Where the program is depends on who built the image.
for jaeger in /cmd/jaeger/jaeger-linux /bin/jaeger; do
  [ ! -x "$jaeger" ] || exec "$jaeger" --config /etc/jaeger/config.yaml
done
echo "There is no Jaeger in this image." >&2
exit 1
