"""Plugins are found, named and kept apart; a bad one matters only to a configuration that needs it."""

from __future__ import annotations

import importlib

import attrs
import pytest

from perpkit.errors import ProviderConflictError, ProviderNotFoundError
from perpkit.plugin import BOOK, FEES, Port, Registry


def only(problems):
    (problem,) = problems
    return str(problem)


def test_an_installed_plugin_is_found_with_its_origin(install, discover):
    install("acme-fees", version="2.1")
    registry = discover()
    assert registry.names(FEES) == ("flat",)
    assert registry.get(FEES, "flat").summary == "no fees"
    assert str(registry.find(FEES, "flat").origin) == "acme-fees 2.1 (acme_fees)"
    assert registry.problems == ()


def test_only_discover_looks_at_what_is_installed(install):
    install("acme-fees")
    assert "flat" not in Registry.of().names(FEES)
    assert "flat" not in Registry.builtin().names(FEES)
    assert "flat" in Registry.discover().names(FEES)


def test_the_parts_of_perpkit_come_by_name_and_a_broken_one_is_reported(install, flat):
    install("beside", {"own_parts": flat}, groups=())
    registry = Registry.of(builtin=("own_parts", "no_such_parts"))
    assert registry.find(FEES, "perpkit:flat").origin.plugin == "own_parts"
    assert "(no_such_parts): failed to load: ModuleNotFoundError" in only(registry.problems)


def test_what_is_not_allowed_is_not_even_imported(install, discover):
    install("acme-fees")
    install("other", {"other": "raise SystemExit('imported')"})
    registry = discover(allow=["Acme_Fees"])
    assert registry.names(FEES) == ("flat",)
    assert registry.problems == ()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError: "),
    ],
)
def test_a_plugin_that_does_not_load_is_named_and_harms_nobody(install, discover, source, told):
    install("acme-fees")
    install("bad-fees", {"bad_fees": source}, version="0.3")
    registry = discover()
    assert registry.names(FEES) == ("flat",)
    assert only(registry.problems).startswith(f"bad-fees 0.3 (bad_fees): failed to load: {told}")


def test_a_problem_is_fatal_only_for_what_is_missing(install, discover):
    install("acme-fees")
    install("bad-fees", {"bad_fees": "import no_such_module"})
    registry = discover()
    registry.get(FEES, "flat")
    with pytest.raises(ProviderNotFoundError) as caught:
        registry.get(FEES, "flta")
    text = str(caught.value)
    assert text.startswith("expected fees to be one of flat; was 'flta'; did you mean 'flat'?")
    assert "bad-fees 1.0 (bad_fees): failed to load: ModuleNotFoundError" in text
    assert "\n" not in text


def test_a_name_offered_twice_has_to_be_picked_by_distribution(install, discover):
    install("acme-a", version="1.0")
    install("acme-b", version="2.0")
    registry = discover()
    assert registry.names(FEES) == ("acme-a:flat", "acme-b:flat")
    assert registry.problems == ()
    with pytest.raises(ProviderConflictError) as caught:
        registry.get(FEES, "flat")
    text = str(caught.value)
    assert "acme-a 1.0 (acme_a) and acme-b 2.0 (acme_b)" in text
    assert "write 'acme-a:flat' or 'acme-b:flat'" in text
    assert registry.find(FEES, "acme-b:flat").origin.version == "2.0"
    assert registry.find(FEES, "Acme_B:flat").origin.version == "2.0"


def test_a_name_offered_twice_by_one_distribution_is_its_authors_to_mend(install, discover, flat):
    install("acme", {"one": flat, "two": flat})
    with pytest.raises(ProviderConflictError, match="ask the author of acme to rename one"):
        discover().get(FEES, "acme:flat")


def test_entry_points_of_the_same_name_do_not_hide_each_other(install, discover, flat):
    install("acme-a", {"acme_a": flat}, entry="fees")
    install("acme-b", {"acme_b": flat}, entry="fees")
    assert discover().names(FEES) == ("acme-a:flat", "acme-b:flat")


def test_a_misspelled_hook_is_reported_with_the_right_spelling(install, discover, flat):
    install("acme-fees", {"acme_fees": flat.replace("fee_schedules", "fee_schedule")})
    install("good-fees")
    registry = discover()
    assert only(registry.problems).endswith(
        "there is no hook 'perpkit_fee_schedule'; did you mean 'perpkit_fee_schedules'?"
    )
    assert registry.find(FEES, "flat").origin.distribution == "good-fees"


def test_a_hook_with_arguments_that_it_is_not_given_is_reported(install, discover, flat):
    install("acme-fees", {"acme_fees": flat.replace("fee_schedules()", "fee_schedules(config)")})
    registry = discover()
    assert registry.names(FEES) == ()
    assert "config" in only(registry.problems)


def test_a_hook_without_its_mark_is_reported(install, discover, flat):
    install("acme-fees", {"acme_fees": flat.replace("@hookimpl", "")})
    assert "perpkit_fee_schedules is ignored: mark it with" in only(discover().problems)


def test_a_plugin_that_offers_nothing_is_reported(install, discover):
    install("acme-fees", {"acme_fees": "x = 1"})
    assert "offers nothing: expected a function such as" in only(discover().problems)


@pytest.mark.parametrize("group", ["perpkit.v0", "perpkit.v2"])
def test_a_plugin_of_another_generation_is_not_loaded_but_reported(install, discover, group):
    install("acme-fees", {"acme_fees": "raise SystemExit('imported')"}, groups=[group])
    registry = discover()
    assert registry.names(FEES) == ()
    assert f"speaks {group}, this is v1" in only(registry.problems)
    with pytest.raises(ProviderNotFoundError, match=r"acme-fees 1\.0"):
        registry.get(FEES, "flat")


def test_a_plugin_may_serve_two_generations(install, discover):
    install("acme-fees", groups=["perpkit.v1", "perpkit.v2"])
    registry = discover()
    assert registry.names(FEES) == ("flat",)
    assert registry.problems == ()


def test_other_entry_points_are_none_of_our_business(install, discover):
    install("acme-tool", {"acme_tool": "raise SystemExit"}, groups=["console_scripts", "perpkit.themes"])
    assert discover().problems == ()


@pytest.mark.parametrize(("api", "behind"), [(-1, "acme-fees"), (1, "perpkit")])
def test_a_part_for_another_api_is_not_offered(install, discover, flat, api, behind):
    source = flat.replace('summary="no fees"', f'summary="no fees", api={api}')
    install("acme-fees", {"acme_fees": source})
    registry = discover()
    assert registry.names(FEES) == ()
    assert only(registry.problems).endswith(f"fees 'flat' is written for api {api}, this is api 0: upgrade {behind}")


def test_an_unhashable_plugin_is_refused_with_the_reason(install, discover):
    install("acme-fees", {"acme_fees": "import attrs\n@attrs.define\nclass P: ...\nplugin = P()\n"})
    info = install("acme-odd", {})
    (info / "entry_points.txt").write_text("[perpkit.v1]\nodd = acme_fees:plugin\n", "utf-8")
    importlib.invalidate_caches()
    told = [str(problem) for problem in discover().problems]
    assert "acme-odd 1.0 (acme_fees:plugin): failed to load: expected a module or a hashable object" in told[1]
    assert "eq=False" in told[1]


def test_an_unhashable_plugin_that_is_handed_over_is_refused_too():
    @attrs.define
    class Plugin:
        x: int = 0

    assert "define the class with eq=False" in only(Registry.of(Plugin(), builtin=()).problems)


def test_the_same_plugin_twice_counts_once(module, flat):
    fees = module("fees", flat)
    registry = Registry.of(fees, fees, builtin=())
    assert registry.names(FEES) == ("flat",)
    assert "already loaded from fees given (fees)" in only(registry.problems)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ValueError('no licence')", "perpkit_fee_schedules failed: ValueError: no licence"),
        ("raise SystemExit(1)", "perpkit_fee_schedules failed: SystemExit: 1"),
        ("return 5", "perpkit_fee_schedules failed: TypeError: 'int' object is not iterable"),
        ("return [Fees]", "expected providers made by the fees port, was <class"),
        (
            "return [FEES.provider(name='Flat Fees', build=Fees, options=NoOptions, summary='')]",
            "expected a provider name of lower-case words joined by hyphens, was 'Flat Fees'",
        ),
        (
            "return [FEES.provider(name='flat', build=Fees, options=dict, summary='')]",
            "fees 'flat': expected an attrs class as options, was <class 'dict'>",
        ),
        ("yield 1 / 0", "perpkit_fee_schedules failed: ZeroDivisionError"),
    ],
)
def test_a_hook_that_fails_or_answers_garbage_is_reported(install, discover, flat, body, told):
    install("acme-bad", {"acme_bad": flat.replace("return [FEES", f"{body}\n    return [FEES")})
    install("good-fees")
    registry = discover()
    assert registry.find(FEES, "flat").origin.distribution == "good-fees"
    assert only(registry.problems).startswith("acme-bad 1.0 (acme_bad): ")
    assert told in only(registry.problems)


def test_a_part_offered_by_the_hook_of_another_port_is_reported(parts):
    parts.perpkit_order_books, parts.perpkit_custodies = parts.perpkit_custodies, parts.perpkit_order_books
    registry = Registry.of(parts, builtin=())
    assert registry.names(BOOK) == ()
    book, custody = registry.problems
    assert "perpkit_order_books: expected providers made by the book port, was Provider(" in str(book)
    assert "perpkit_custodies: expected providers made by the custody port, was Provider(" in str(custody)


def test_garbage_beside_a_good_provider_costs_only_the_garbage(install, discover, flat):
    install("acme-fees", {"acme_fees": flat.replace('summary="no fees")]', 'summary="no fees"), None]')})
    registry = discover()
    assert registry.names(FEES) == ("flat",)
    assert "was None" in only(registry.problems)


def test_damaged_entry_points_are_reported(install, discover):
    info = install("acme-fees")
    (info / "entry_points.txt").write_text("[perpkit.v1]\nthis is not an entry point\n", "utf-8")
    install("good-fees")
    importlib.invalidate_caches()
    registry = discover()
    assert registry.names(FEES) == ("flat",)
    assert only(registry.problems).startswith("acme-fees 1.0 (its entry points): cannot be read")


def test_what_is_left_of_a_removed_distribution_is_passed_over(install, discover):
    info = install("acme-fees")
    (info / "METADATA").unlink()
    importlib.invalidate_caches()
    registry = discover()
    assert (registry.names(FEES), registry.problems) == ((), ())


def test_the_first_copy_on_the_path_shadows_a_later_one(install, discover):
    install("acme-fees", version="1.0", folder="later")
    install("Acme.Fees", {"acme_fees": "x = 1"}, version="2.0", folder="earlier")
    assert "Acme.Fees 2.0 (acme_fees): offers nothing" in only(discover().problems)


def test_plugins_are_loaded_in_the_same_order_however_they_lie_on_the_path(install, discover):
    for name in ("b-fees", "c-fees", "a-fees"):
        install(name, folder=name)
    found = [offer.origin.distribution for offer in discover().providers()]
    assert found == ["a-fees", "b-fees", "c-fees"]


def test_names_of_another_port_are_not_found(install, discover):
    install("acme-fees")
    other = Port(key="other", hook="perpkit_others", context=object, members=frozenset())
    with pytest.raises(ProviderNotFoundError, match=r"expected other to be one of \(none is loaded\); was 'flat'"):
        discover().get(other, "flat")
