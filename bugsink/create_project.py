"""Creates the project that the DSN names. Later runs only update the project's key."""

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

# Bugsink creates its user on the first start only: after that, BUGSINK_LOGIN has no effect.
email, _, password = os.environ["CREATE_SUPERUSER"].partition(":")
user = get_user_model().objects.filter(username=email).first()
if user is None or not user.check_password(password):
    users = ", ".join(get_user_model().objects.values_list("username", flat=True))
    print(
        f"BUGSINK_LOGIN is not the login of this Bugsink. Its user is {users}, with the password of the first "
        "start or the one that was set in Bugsink since. Change it there, under the user's name at the top; "
        "or start over, without the events: docker compose down --volumes"
    )

print(f"Bugsink project {PROJECT_ID} is ready")
