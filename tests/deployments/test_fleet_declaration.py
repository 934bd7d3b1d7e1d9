"""What a declaration may say, and that everything wrong with it is told at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from deployments.fleet.declaration import Declaration, DeclarationInvalid, check, read

GOOD: dict[str, Any] = {
    "environments": [
        {
            "name": "staging",
            "approvals": 0,
            "promote_from": None,
            "gates": "basic",
            "hosts": [{"name": "s1", "address": "10.0.1.1", "user": "deploy", "key": "agent"}],
        },
        {
            "name": "production",
            "approvals": 1,
            "promote_from": "staging",
            "gates": "basic",
            "hosts": [
                {"name": "jump", "address": "10.0.0.1", "user": "deploy", "key": "agent"},
                {"name": "p1", "address": "10.0.0.11", "user": "deploy", "key": "agent", "bastion": "jump"},
                {"name": "p2", "address": "10.0.0.12", "user": "deploy", "key": "env:KEY"},
                {"name": "lb1", "address": "10.0.0.5", "user": "deploy", "key": "file:/k"},
            ],
            "balancers": [
                {"name": "lb", "nodes": [{"host": "lb1", "root": "/srv/lb", "options": {"admin_socket": "/s"}}]}
            ],
        },
    ],
    "installations": [
        {"application": "shop", "environment": "staging", "root": "/srv/shop", "unit": "shop", "port": 8080},
        {
            "application": "shop",
            "environment": "production",
            "root": "/srv/shop",
            "restart": "./restart.sh",
            "port": 8080,
            "balancer": "lb",
            "listen": ":80",
        },
    ],
}  # fmt: skip
STAGING, PRODUCTION = "environments[0]", "environments[1]"
SHOP, BALANCED = "installations[0]", "installations[1]"


def changed(path: str, value: object) -> dict[str, Any]:
    """The good declaration with one field set, or taken out with `...`."""
    tree = copy.deepcopy(GOOD)
    at: Any = tree
    *way, last = [part for part in path.replace("[", ".").replace("]", "").split(".") if part]
    for part in way:
        at = at[int(part)] if part.isdigit() else at[part]
    if value is ...:
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return tree


def errors_of(tree: Any) -> dict[str, str]:
    with pytest.raises(DeclarationInvalid) as caught:
        check(tree)
    return dict(caught.value.errors)


def good() -> Declaration:
    return check(copy.deepcopy(GOOD))


def test_a_good_declaration_is_read_with_its_defaults():
    declared = good()
    staging, production = declared.environments
    assert (staging.policy.strategy, production.policy.queue) == ("all-at-once", "supersede")
    shop, balanced = declared.installations
    assert shop.hosts == ("s1",)
    assert balanced.hosts == ("p1", "p2"), "neither the bastion nor the balancer's machine runs the application"
    assert (shop.strategy, balanced.strategy) == ("all-at-once", "rolling"), "the environment's policy says it"
    assert (shop.url, shop.health, shop.metrics) == ("http://{address}:{port}", "/health", "")


WRONG = [
    (f"{STAGING}.approvals", ..., f"{STAGING}.approvals", "must be written in the declaration"),
    (f"{STAGING}.promote_from", ..., f"{STAGING}.promote_from", "must be written"),
    (f"{STAGING}.gates", ..., f"{STAGING}.gates", "must be written"),
    (f"{STAGING}.gates", "none", f"{STAGING}.gates", "must be one of basic"),
    (f"{STAGING}.approvals", "1", f"{STAGING}.approvals", "must be a"),
    (f"{STAGING}.approvals", 11, f"{STAGING}.approvals", "0 to 10"),
    (f"{STAGING}.approvals", {"low": 0, "high": 1}, f"{STAGING}.approvals", "how many people each risk needs"),
    (f"{STAGING}.approvals", {"low": 2, "medium": 1, "high": 1, "critical": 1}, f"{STAGING}.approvals",
     "medium has fewer than low"),
    (f"{STAGING}.approval_expires", 5, f"{STAGING}.approval_expires", "from 60 to"),
    (f"{STAGING}.deployment_windows", [{"from": "09:00", "to": "16:00"}], f"{STAGING}.deployment_windows[0].zone",
     "must be given"),
    (f"{STAGING}.deployment_windows", [{"from": "1 may", "to": "2 may", "zone": "UTC"}],
     f"{STAGING}.deployment_windows[0].from", "must be a weekday or a time of the day"),
    (f"{STAGING}.deployment_windows", [{"from": "09:00", "to": "16:00", "zone": "UTC", "on": "monday"}],
     f"{STAGING}.deployment_windows[0].on", "there is no such field"),
    (f"{STAGING}.freezes", [{"from": "friday", "to": "monday", "zone": "Mars", "reason": "x"}],
     f"{STAGING}.freezes[0].zone", "no time zone that this machine knows"),
    (f"{STAGING}.freezes", [{"from": "friday", "to": "monday", "zone": "UTC"}], f"{STAGING}.freezes[0].reason",
     "must be given"),
    (f"{STAGING}.freezes", ["friday"], f"{STAGING}.freezes[0]", "must be a mapping"),
    ("freezes", [{"from": 960, "to": "18:00", "zone": "UTC", "reason": "x"}], "freezes[0].from", "text in quotes"),
    (f"{STAGING}.promote_from", "production", f"{STAGING}.promote_from", "in a circle"),
    (f"{STAGING}.promote_from", "staging", f"{STAGING}.promote_from", "in a circle"),
    (f"{STAGING}.sources", 5, f"{STAGING}.sources", "must be a list of texts"),
    (f"{STAGING}.sources", ["prometheus"], f"{STAGING}.prometheus", "must be declared"),
    (f"{STAGING}.prometheus", {"url": "http://p:9090"}, f"{STAGING}.sources", "must name prometheus"),
    (f"{STAGING}.prometheus", "http://p:9090", f"{STAGING}.prometheus", "must be a mapping"),
    (f"{STAGING}.prometheus", {"url": "p:9090"}, f"{STAGING}.prometheus.url", "must be an address"),
    (f"{STAGING}.prometheus", {"url": "http://me:pw@p:9090"}, f"{STAGING}.prometheus.url", "without a password"),
    (f"{STAGING}.prometheus", {"url": "http://p", "token": "s3cret"}, f"{STAGING}.prometheus.token", "never the token"),
    (f"{STAGING}.prometheus", {"url": "http://p", "scrape_interval": 0}, f"{STAGING}.prometheus.scrape_interval",
     "from 0.5 to 600"),
    (f"{STAGING}.prometheus", {"url": "http://p", "queries": {"requests": 'x{a="{adress}"}'}},
     f"{STAGING}.prometheus.queries.requests", "knows no {adress}"),
    (f"{STAGING}.prometheus", {"url": "http://p", "queries": {"latency": "x"}},
     f"{STAGING}.prometheus.queries.latency", "no such query"),
    (f"{STAGING}.prometheus", {"url": "http://p", "queries": {"requests": "rate(x[1m])"}},
     f"{STAGING}.prometheus.queries.requests", "without rate()"),
    (f"{STAGING}.checks", [{"name": "q", "query": "x"}], f"{STAGING}.prometheus", "must be declared"),
    (f"{STAGING}.checks", [{"name": "q", "query": 'x{a="{host}"}'}], f"{STAGING}.checks[0].query", "knows no {host}"),
    (f"{STAGING}.checks", ["q"], f"{STAGING}.checks[0]", "must be a mapping"),
    (f"{STAGING}.checks", "q", f"{STAGING}.checks", "must be a list of mappings"),
    (f"{STAGING}.checks", [{"name": "q", "source": "stars"}], f"{STAGING}.checks[0].source", "prometheus or journal"),
    (f"{SHOP}.access_log", {"path": "access.log", "format": "nginx"}, f"{SHOP}.access_log.path", "absolute path"),
    (f"{SHOP}.access_log", {"path": "/l", "format": "apache"}, f"{SHOP}.access_log.format", "must be one of"),
    (f"{SHOP}.access_log", {"path": "/l", "format": "nginx", "on": "balancer"}, f"{SHOP}.access_log.on",
     "there is no balancer"),
    (f"{SHOP}.access_log", {"path": "/l", "format": "nginx"}, f"{SHOP}.access_log", "do not name access_log"),
    (f"{BALANCED}.access_log", {"path": "/l", "format": "nginx-combined"}, f"{BALANCED}.access_log.format",
     "does not tell which host answered"),
    (f"{BALANCED}.access_log", {"path": "/l", "format": "nginx", "backend": "b"}, f"{BALANCED}.access_log.backend",
     "HAProxy backend"),
    (f"{BALANCED}.journal", True, f"{BALANCED}.journal", "a systemd unit"),
    (f"{SHOP}.journal", "yes", f"{SHOP}.journal", "must be true or false"),
    (f"{SHOP}.queries", {"up": "max(up)"}, f"{SHOP}.queries.up", "one selector"),
    (f"{STAGING}.strategy", ["rolling"], f"{STAGING}.strategy", "must be text"),
    (f"{STAGING}.batch", "0", f"{STAGING}.batch", "number of hosts or a percentage"),
    (f"{STAGING}.rules", {"max_speed": 1}, f"{STAGING}.rules", "there is no rule max_speed"),
    (f"{STAGING}.rules", {"max_p95": "fast"}, f"{STAGING}.rules", "must be a number"),
    (f"{STAGING}.colour", "red", f"{STAGING}.colour", "there is no such field"),
    (f"{STAGING}.name", "../etc", f"{STAGING}.name", "letters, digits"),
    (f"{STAGING}.name", False, f"{STAGING}.name", "must be text, not true or false; put it in quotes"),
    (f"{STAGING}.hosts", "s1", f"{STAGING}.hosts", "must be a list"),
    (f"{STAGING}.hosts[0].port", 70_000, f"{STAGING}.hosts[0].port", "from 1 to 65535"),
    (f"{STAGING}.hosts[0].port", "22", f"{STAGING}.hosts[0].port", "from 1 to 65535"),
    (f"{STAGING}.hosts[0].address", ..., f"{STAGING}.hosts[0].address", "must be given"),
    (f"{STAGING}.hosts[0].address", "-oProxyCommand=x", f"{STAGING}.hosts[0]", "is not acceptable"),
    (f"{STAGING}.hosts[0].user", "a b", f"{STAGING}.hosts[0]", "user 'a b' is not acceptable"),
    (f"{STAGING}.hosts[0].key", "-----BEGIN", f"{STAGING}.hosts[0]", "file:/path, env:NAME or agent"),
    (f"{STAGING}.hosts[0].fingerprint", "MD5:aa", f"{STAGING}.hosts[0]", "SHA256:"),
    (f"{STAGING}.hosts[0].bastion", "jump", f"{STAGING}.hosts[0].bastion", "there is no host jump"),
    (f"{PRODUCTION}.hosts[0].bastion", "p1", f"{PRODUCTION}.hosts[0].bastion", "through itself"),
    (f"{PRODUCTION}.hosts[2].name", "p1", f"{PRODUCTION}.hosts", "p1 stands here twice"),
    (f"{PRODUCTION}.hosts[2].address", "10.0.0.5", f"{PRODUCTION}.hosts", "are the same machine"),
    (f"{PRODUCTION}.balancers[0].nodes", [], f"{PRODUCTION}.balancers[0].nodes", "at least one machine"),
    (f"{PRODUCTION}.balancers[0].nodes[0].host", "x", f"{PRODUCTION}.balancers[0].nodes[0].host", "no host x"),
    (f"{PRODUCTION}.balancers[0].nodes[0].kind", "f5", f"{PRODUCTION}.balancers[0].nodes[0].kind", "one of caddy"),
    (f"{PRODUCTION}.balancers[0].nodes[0].options", {}, f"{PRODUCTION}.balancers[0].nodes[0].options.admin_socket",
     "must be given"),
    (f"{SHOP}.environment", "moon", f"{SHOP}.environment", "there is no environment moon"),
    (f"{SHOP}.application", "a b", f"{SHOP}.application", "the id of a workflow"),
    (f"{SHOP}.root", "srv/shop", f"{SHOP}.root", "an absolute path"),
    (f"{SHOP}.root", "/srv/../etc", SHOP, "is not acceptable"),
    (f"{SHOP}.root", "/srv/{name}", f"{SHOP}.root", "knows {host}"),
    (f"{SHOP}.restart", "true", f"{SHOP}.unit", "and not both"),
    (f"{SHOP}.unit", ..., f"{SHOP}.unit", "either a systemd unit or a restart command"),
    (f"{SHOP}.unit", "shop;reboot", SHOP, "unit 'shop;reboot' is not acceptable"),
    (f"{SHOP}.port", ..., f"{SHOP}.port", "must be given"),
    (f"{SHOP}.url", "http://{name}", f"{SHOP}.url", "{address} and {port}"),
    (f"{SHOP}.url", "ftp://{address}", f"{SHOP}.url", "must be an address"),
    (f"{SHOP}.url", "http://{address.__class__}", f"{SHOP}.url", "must be an address"),
    (f"{SHOP}.health", "health", f"{SHOP}.health", "a path such as /health"),
    (f"{SHOP}.listen", ":80", f"{SHOP}.listen", "name the balancer"),
    (f"{SHOP}.hosts", ["p1"], f"{SHOP}.hosts", "there is no host p1 in staging"),
    (f"{SHOP}.hosts", [], f"{SHOP}.hosts", "at least one host"),
    (f"{SHOP}.strategy", "big-bang", f"{SHOP}.strategy", "must be one of"),
    (f"{SHOP}.commands", ["true"], f"{SHOP}.commands", "a mapping of fields"),
    (f"{SHOP}.commands", {"warm up": "true"}, f"{SHOP}.commands", "must be a name"),
    (f"{SHOP}.commands", {"warm": ["true"]}, f"{SHOP}.commands.warm", "must be text"),
    (f"{SHOP}.commands", {"warm": ""}, f"{SHOP}.commands.warm", "must not be empty"),
    (f"{SHOP}.slots", {"blue": 8081}, f"{SHOP}.slots", "blue and green a port each"),
    (f"{SHOP}.slots", {"blue": 8081, "green": 8081}, f"{SHOP}.slots", "blue and green a port each"),
    (f"{SHOP}.slots", {"blue": 8081, "green": 8082}, f"{SHOP}.unit", "must name the slot"),
    (f"{SHOP}.policy", {"warm": "1h"}, f"{SHOP}.policy.warm", "seconds, or null"),
    (f"{SHOP}.slots", {"red": 1, "blue": 2}, f"{SHOP}.slots.red", "there is no such field"),
    (f"{SHOP}.pools", {"blue": ["s1"]}, f"{SHOP}.pools", "the hosts of blue and of green"),
    (f"{BALANCED}.pools", {"blue": ["p1"], "green": ["p1"]}, f"{BALANCED}.pools", "each host of the installation once"),
    (f"{SHOP}.strategy", "blue-green", f"{SHOP}.strategy", "declare slots or pools"),
    (f"{SHOP}.strategy", "canary", f"{SHOP}.strategy", "needs a balancer"),
    (f"{SHOP}.sticky", "cookie:lb", f"{SHOP}.sticky", "name the balancer"),
    (f"{SHOP}.hooks", {"before_lunch": "true"}, f"{SHOP}.hooks.before_lunch", "no such field"),
    (f"{SHOP}.hooks", {"before_activate": ["true"]}, f"{SHOP}.hooks.before_activate", "must be text"),
    (f"{SHOP}.hooks", "true", f"{SHOP}.hooks", "must be a mapping"),
    (f"{SHOP}.policy", {"irreversible_without_backup": True}, f"{SHOP}.policy.irreversible_without_backup", "to say"),
    (f"{BALANCED}.sticky", "cookie:lb", BALANCED, "Caddy cannot let a client stay"),
    (f"{STAGING}.weights", [5, 50], f"{STAGING}.weights", "to 100"),
    (f"{STAGING}.weights", ["5%"], f"{STAGING}.weights", "list of whole percentages"),
    (f"{STAGING}.pause_at", [7], f"{STAGING}.weights", "none of the weights"),
    (f"{SHOP}.version_proof", "faith", f"{SHOP}.version_proof", "must be one of"),
    (f"{SHOP}.smoke", [{"name": "x"}], f"{SHOP}.smoke[0]", "either an endpoint or a workflowId"),
    (f"{SHOP}.policy", {"window": 1}, f"{SHOP}.policy.window", "is looser than"),
    (f"{SHOP}.policy", {"gates": "none"}, f"{SHOP}.policy.gates", "is the environment's to say"),
    (f"{SHOP}.policy", {"speed": 1}, f"{SHOP}.policy.speed", "there is no such field"),
    (f"{BALANCED}.policy", {"approvals": {"low": 0, "medium": 1, "high": 2, "critical": 2}},
     f"{BALANCED}.policy.approvals", "is looser than the environment's 1"),
    (f"{BALANCED}.policy", {"approval_expires": 100_000}, f"{BALANCED}.policy.approval_expires", "is looser than"),
    (f"{BALANCED}.policy", {"deployment_windows": [{"from": "09:00", "to": "10:00", "zone": "UTC"}]},
     f"{BALANCED}.policy.deployment_windows", "is the environment's to say"),
    (f"{BALANCED}.policy", {"approvals": 0}, f"{BALANCED}.policy.approvals", "is looser than the environment's 1"),
    (f"{BALANCED}.balancer", "f5", f"{BALANCED}.balancer", "there is no balancer f5"),
    (f"{BALANCED}.listen", ..., f"{BALANCED}.listen", "such as :8080"),
    (f"{BALANCED}.listen", "http", BALANCED, "listen address cannot be 'http'"),
    (f"{BALANCED}.environment", "staging", BALANCED, "shop stands in staging twice"),
    ("environments", [], "environments", "at least one environment"),
    ("fleet", {}, "fleet", "there is no such field"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "where", "said"), WRONG, ids=lambda v: str(v)[:40])
def test_what_is_wrong_is_told_where_it_stands(path, value, where, said):
    errors = errors_of(changed(path, value))
    assert said in errors.get(where, ""), errors


def test_everything_wrong_is_told_at_once():
    tree = changed(f"{STAGING}.approvals", ...)
    tree["environments"][1]["hosts"][1]["port"] = 0
    tree["installations"][0]["root"] = "x"
    tree["surprise"] = 1
    assert {f"{STAGING}.approvals", f"{PRODUCTION}.hosts[1].port", f"{SHOP}.root", "surprise"} <= set(errors_of(tree))


def test_two_applications_do_not_share_a_folder_or_a_listener():
    tree = copy.deepcopy(GOOD)
    tree["installations"].append({**tree["installations"][1], "application": "till"})
    errors = errors_of(tree)
    assert "share /srv/shop" in errors["installations[2]"]
    assert "would listen on :80" in errors["installations[2].listen"]


def test_a_balancers_files_are_not_put_into_an_applications_folder():
    tree = changed(f"{PRODUCTION}.balancers[0].nodes[0].host", "p2")
    tree["environments"][1]["balancers"][0]["nodes"][0]["root"] = "/srv/shop"
    tree["installations"][1]["hosts"] = ["p1", "p2"]
    assert any("share /srv/shop" in message for message in errors_of(tree).values())


@pytest.mark.parametrize("value", [None, [], "text", 5, {"environments": 5}, {"environments": [None]}])
def test_what_is_no_declaration_at_all_is_said_without_a_crash(value):
    assert errors_of(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: 1\na: 2", "line 2: the key a stands here twice"),
        (b"a: &x [1]\nb: *x", "line 2: aliases (*x) are not taken"),
        (b"a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        (b"[" * 50, "nested deeper than 12 levels"),
        (b"a: [1", "line 1"),
        (b"1: 2", "the key 1 must be text"),
        (b"a: \xff", "it is not text in UTF-8"),
        (b"a: " + b"9" * 5000, "a value cannot be read"),
        (b"#" * 1_000_001, "it has 1000001 bytes"),
    ],
)  # fmt: skip
def test_a_file_that_could_do_harm_or_is_ambiguous_is_refused(text, said):
    with pytest.raises(DeclarationInvalid) as caught:
        read(text)
    [(path, message)] = caught.value.errors
    assert path == "the file"
    assert said in message


def test_a_file_says_the_same_as_its_values():
    assert read(yaml.safe_dump(GOOD).encode()) == good()


def test_a_batch_written_as_a_number_is_a_batch():
    declared = check(changed(f"{STAGING}.batch", 2))
    assert declared.environments[0].policy.options().batch == "2"


@pytest.mark.parametrize(
    ("kind", "options", "name", "words"),
    [
        ("haproxy", {}, "admin_socket", "must be given"),
        ("haproxy", {"admin_socket": "/s", "main_config": 5}, "main_config", "must be text"),
        ("haproxy", {"admin_socket": "/s", "reload": "sh -c 'x"}, "reload", "must be a command"),
        ("nginx", {"admin_socket": "/s"}, "admin_socket", "there is: reload_free, check, reload"),
        ("nginx", {"check": ""}, "check", "must be a command"),
    ],
)
def test_the_options_of_a_balancers_kind_are_checked(kind, options, name, words):
    with pytest.raises(DeclarationInvalid) as error:
        check(with_balancer(kind, options))
    [(path, message)] = error.value.errors
    assert path == f"{PRODUCTION}.balancers[0].nodes[0].options.{name}" and words in message


@pytest.mark.parametrize(
    ("kind", "options"),
    [("haproxy", {"admin_socket": "/s", "reload": "true", "program": "sudo haproxy", "main_config": "/etc/h.cfg"}),
     ("nginx", {}), ("nginx", {"reload_free": "lua", "check": "sudo -n nginx -t"})],
)  # fmt: skip
def test_haproxy_and_nginx_may_be_declared(kind, options):
    [balancer] = check(with_balancer(kind, options)).environments[1].balancers
    assert (balancer.nodes[0].kind, balancer.nodes[0].options) == (kind, options)


def test_a_reload_free_form_that_does_not_exist_is_told_at_the_installation():
    with pytest.raises(DeclarationInvalid, match="write lua"):
        check(with_balancer("nginx", {"reload_free": "njs"}))


def with_balancer(kind, options):
    tree = changed(f"{PRODUCTION}.balancers[0].nodes[0].kind", kind)
    tree["environments"][1]["balancers"][0]["nodes"][0]["options"] = options
    return tree
