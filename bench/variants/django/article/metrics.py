from prometheus_client import Counter, Gauge

REQUEST_COUNT = Counter(
    "django_http_requests_total",
    "Total number of HTTP requests",
    ["method", "endpoint"],
)
ACTIVE_USERS = Gauge(
    "django_active_users",
    "Number of active users",
)
