"""Errors that nobody expected, as answers."""

import sqlite3

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from slipstream.web.problems import add_problem_handlers


def answer_to(error: Exception):
    app = FastAPI()
    add_problem_handlers(app)

    @app.get("/api/thing")
    def thing() -> None:
        raise error

    return TestClient(app, raise_server_exceptions=False).get("/api/thing")


def test_a_locked_database_is_told_as_passing():
    answer = answer_to(OperationalError("UPDATE clock", {}, sqlite3.OperationalError("database is locked")))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["message"] == "the queue's database does not answer at the moment"


def test_a_mistake_of_ours_tells_nothing_of_its_inside():
    answer = answer_to(KeyError("/home/somebody/secret"))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["fix"].startswith("this is a fault of slipstream")
