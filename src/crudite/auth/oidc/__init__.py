"""OpenID Connect: signing people in who have an account elsewhere."""

from crudite.auth.oidc.openid import OpenId

__all__ = ["OpenId"]
