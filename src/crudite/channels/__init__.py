"""Channels: what is told at the moment and kept nowhere (who types, where a cursor is), and who is there."""

from crudite.channels.channel import Channel
from crudite.channels.channels import Channels
from crudite.channels.hub import Hub
from crudite.channels.limits import ChannelFigures, ChannelLimits
from crudite.channels.member import Ground, Member
from crudite.channels.telling import Sender, Shown, Speech, Told
from crudite.channels.watch import Watch

__all__ = [
    "Channel",
    "ChannelFigures",
    "ChannelLimits",
    "Channels",
    "Ground",
    "Hub",
    "Member",
    "Sender",
    "Shown",
    "Speech",
    "Told",
    "Watch",
]
