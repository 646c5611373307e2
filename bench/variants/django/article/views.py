from django.shortcuts import render

from .metrics import ACTIVE_USERS, REQUEST_COUNT


def trigger_error(request):
    division_by_zero = 1 / 0
    return render(request, "error.html")


def my_view(request):
    REQUEST_COUNT.labels(request.method, request.path).inc()
    ACTIVE_USERS.inc()
    ACTIVE_USERS.dec()
    return render(request, "my_template.html", {"title": "My view", "seconds": 0})
