"""Declare a resource once; every client gets it live, over the interface that it already speaks."""

from crudite import validators
from crudite.app import App
from crudite.auth import ApiKeys, Authenticate, Introspection, Issued, Jwt, Mail, OpenId, Sessions, Tickets
from crudite.channels import Channel, ChannelLimits
from crudite.errors import (
    Conflict,
    CruditeError,
    DeclarationError,
    Fault,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    NotUnique,
    PreconditionFailed,
    Problem,
    StoreError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from crudite.interfaces.base import Limits
from crudite.interfaces.browser import Browser
from crudite.interfaces.cors import Cors
from crudite.interfaces.insight import Insight
from crudite.interfaces.openapi import OpenApi
from crudite.interfaces.rest import Rest
from crudite.interfaces.sse import Sse
from crudite.interfaces.styles import Booster, Wheelhouse, WheelhouseOptions, WheelhousePermissions
from crudite.interfaces.websocket import WebSocket
from crudite.limiting import Rate
from crudite.live import LiveLimits, Retention
from crudite.messages import Actor, Credentials, Redirect, Response
from crudite.pipeline import Next
from crudite.resources.declaring.declare import Record, Resource, after, around, before
from crudite.resources.declaring.fields import BigInt, Cascade, Email, Field, Many, One, Parent, Password, Ref, Unique
from crudite.resources.declaring.places import Place
from crudite.resources.query import Count, Groups, Query, Value
from crudite.resources.request import Request
from crudite.resources.writing.passwords import Hashing, verify_password
from crudite.resources.writing.validating import FieldContext
from crudite.rules import allow, me, now, today
from crudite.stores.mirrored import Database, Mirrored

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "ApiKeys",
    "App",
    "Authenticate",
    "BigInt",
    "Booster",
    "Browser",
    "Cascade",
    "Channel",
    "ChannelLimits",
    "Conflict",
    "Cors",
    "Count",
    "Credentials",
    "CruditeError",
    "Database",
    "DeclarationError",
    "Email",
    "Fault",
    "Field",
    "FieldContext",
    "Forbidden",
    "Groups",
    "Hashing",
    "Insight",
    "Introspection",
    "Invalid",
    "Issued",
    "Jwt",
    "Limits",
    "LiveLimits",
    "Mail",
    "Malformed",
    "Many",
    "Mirrored",
    "Next",
    "NotFound",
    "NotUnique",
    "One",
    "OpenApi",
    "OpenId",
    "Parent",
    "Password",
    "Place",
    "PreconditionFailed",
    "Problem",
    "Query",
    "Rate",
    "Record",
    "Redirect",
    "Ref",
    "Request",
    "Resource",
    "Response",
    "Rest",
    "Retention",
    "Sessions",
    "Sse",
    "StoreError",
    "Tickets",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Unique",
    "Value",
    "WebSocket",
    "Wheelhouse",
    "WheelhouseOptions",
    "WheelhousePermissions",
    "after",
    "allow",
    "around",
    "before",
    "me",
    "now",
    "today",
    "validators",
    "verify_password",
]
