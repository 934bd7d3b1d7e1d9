"""POST /api/auth/login."""

from __future__ import annotations

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus.accounts import tokens
from aureus.accounts.login import login
from releases.asking import Body, Line


class LoginBody(Body):
    username = Line(max_length=150)
    password = serializers.CharField(max_length=1000, trim_whitespace=False)


class LoginShape(serializers.Serializer):
    token = serializers.CharField()
    expiresIn = serializers.IntegerField(help_text="Seconds.")


class Login(APIView):
    """A bearer token for a user name and a password."""

    @extend_schema(
        operation_id="login", summary="Log in", request=LoginBody, responses={200: LoginShape}, tags=["auth"], auth=[]
    )
    def post(self, request: Request) -> Response:
        asked = LoginBody.read(request)
        user = login(request._request, asked["username"], asked["password"], address=_address(request))
        token, seconds = tokens.issue(user)
        return Response({"token": token, "expiresIn": seconds}, headers={"Cache-Control": "no-store"})


def _address(request: Request) -> str:
    """Behind the proxy that PUBLIC_URL speaks of, the address which that proxy saw: the last one of the list."""
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")[-1].strip()
    return forwarded if settings.AUREUS.PUBLIC_URL and forwarded else request.META.get("REMOTE_ADDR", "")
