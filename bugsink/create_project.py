"""Makes the project that the DSN names. Run again, it only brings the project's key up to date."""

import os
import uuid

import django

django.setup()

from bugsink.transaction import immediate_atomic
from django.contrib.auth import get_user_model
from projects.models import Project, ProjectMembership, ProjectRole
from teams.models import Team, TeamMembership, TeamRole

PROJECT_ID = 1
key = uuid.UUID(hex=os.environ["PROJECT_KEY"])

# Takes SQLite's write lock at once: the server is using the same database.
with immediate_atomic():
    project = Project.objects.filter(id=PROJECT_ID).first()
    if project is None:
        team, _ = Team.objects.get_or_create(name="Application")
        project = Project.objects.create(
            id=PROJECT_ID, name="Application", team=team, sentry_key=key, alert_on_new_issue=True
        )
        for user in get_user_model().objects.filter(is_superuser=True):
            TeamMembership.objects.get_or_create(
                team=team, user=user, defaults={"role": TeamRole.ADMIN, "accepted": True}
            )
            ProjectMembership.objects.create(
                project=project,
                user=user,
                role=ProjectRole.ADMIN,
                accepted=True,
                send_email_alerts=True,
            )
    elif project.sentry_key != key:
        project.sentry_key = key
        project.save(update_fields=["sentry_key"])

print(f"Bugsink project {PROJECT_ID} is ready")
