from django.urls import path

from . import views

urlpatterns = [
    path("trigger-error/", views.trigger_error, name="trigger_error"),
    path("my-view", views.my_view, name="my_view"),
]
