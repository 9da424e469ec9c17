"""What has to be entered warns if it is not, and is otherwise what is in it."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from seawall.entering import MustBeEntered


@asynccontextmanager
async def lamp(lit: list[str]) -> AsyncGenerator[str]:
    """Something that is switched on and off, and keeps `ValueError` inside."""
    await trio.lowlevel.checkpoint()
    lit.append("on")
    try:
        yield "light"
    except ValueError:
        lit.append("caught")
    lit.append("off")


async def test_it_is_what_is_in_it() -> None:
    """Entered, it gives the same value, hands over what the body raises, and warns of nothing."""
    lit = list[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with MustBeEntered("lamp()", lamp(lit)) as given:
            assert (given, lit) == ("light", ["on"])
        async with MustBeEntered("lamp()", lamp(lit)):
            lit.remove("nothing")
        gc.collect()
    assert lit == ["on", "off", "on", "caught", "off"]


def test_it_warns_if_nobody_enters_it() -> None:
    """With the call, and what to write instead."""
    with pytest.warns(RuntimeWarning, match=re.escape("lamp() was never entered, and has done nothing; write `async")):
        MustBeEntered("lamp()", lamp([]))
