"""Registration in both clouds: what is registered, what is refused, and what the ledger records of it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from rmfab.errors import InputError, StationError, UnitsFailed
from rmfab.ledger.events import Event, EventKind, Outcome, timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.operations.look_up_units import (
    LookUpRequest,
    LookUpSummary,
    RegistrationProof,
    UnitLookedUp,
    look_up_units,
)
from rmfab.operations.open_registrar import CloudAccess
from rmfab.operations.register_units import RegisterRequest, register_units
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.virtual.cloud.neo import VirtualNeo
from rmfab.virtual.cloud.rainmaker import VirtualRainmaker
from rmfab.virtual.cloud.store import CloudNode
from rmfab.workspace.workspace import Workspace
from tests.operations.notebook import Notebook
from tests.registration.clouds import BATCH, UNITS, Clock, Site, certificates, in_cloud, proven, register
from tests.registration.conftest import Open

OTHER = "0" * 64


def unit_events(lamp: Workspace, serial: str, kind: EventKind = EventKind.REGISTER) -> list[Event]:
    """The events of this kind of a unit."""
    return [one.event for one in lamp.ledger.history(serial) if one.event.kind is kind]


def first_node(lamp: Workspace) -> str:
    """The node id of the first unit."""
    return str(next(iter(lamp.ledger.identities(BATCH))).node_id)


class TestRegistered:
    """Good runs."""

    def test_all_units(self, lamp: Workspace, place: Site) -> None:
        """Every unit is registered with its own certificate, in one job, and recorded with cloud and job."""
        summary, units = register(lamp, place)
        assert (summary.registered, summary.before, summary.failed) == (UNITS, 0, 0)
        proven(lamp, place)
        one = lamp.ledger.named(units[0].serial)
        (event,) = unit_events(lamp, units[0].serial)
        (task,) = place.cloud.store.tasks
        assert (event.outcome, event.state) == (Outcome.PASS, None)
        details = {name: value for name, value in event.details.items() if name != "operator"}
        assert details == {"cloud": place.cloud.api, "job": task, "certificate": one.record.certificate_id}
        assert lamp.ledger.check() == ()

    def test_again(self, lamp: Workspace, place: Site) -> None:
        """A second run sends nothing: the ledger knows that all are registered, in this cloud."""
        register(lamp, place)
        calls = len(place.server.calls)
        assert register(lamp, place)[0].before == UNITS
        assert len(place.server.calls) == calls

    def test_another_cloud(self, lamp: Workspace, serve: Open) -> None:
        """Units that are registered in one deployment are registered in a different one, too."""
        with serve() as one, serve() as two:
            register(lamp, one)
            assert register(lamp, two)[0].registered == UNITS
            proven(lamp, two)

    def test_split(self, lamp: Workspace, place: Site) -> None:
        """More units than one request may have are registered in several jobs."""
        register(lamp, place, most=2)
        proven(lamp, place, jobs=2)
        assert [len(task.rows) for task in place.cloud.store.tasks.values()] == [2, 1]

    def test_void_units_are_left_out(self, lamp: Workspace, place: Site, clock: Clock) -> None:
        """A void unit is not uploaded, and counted; by its serial it is refused."""
        void = next(iter(lamp.ledger.identities(BATCH)))
        lamp.ledger.void(void.name, reason="lost", station="bench", ts=timestamp(clock.now()))
        summary, _ = register(lamp, place)
        assert (summary.registered, summary.left_out) == (UNITS - 1, {"void": 1})
        assert void.node_id not in in_cloud(place)
        with pytest.raises(InputError, match="the unit is void"):
            list(register_units(lamp, RegisterRequest((void.serial,), place.access())))

    def test_the_upload_has_no_secret(self, lamp: Workspace, place: Site) -> None:
        """What is uploaded is what `rmfab export` writes: node ids and certificates."""
        register(lamp, place)
        (data,) = place.cloud.storage.objects.values()
        assert data.startswith(b"node_id,certs\n")
        assert b"PRIVATE" not in data

    def test_tokens_are_kept(self, lamp: Workspace, place: Site) -> None:
        """The second run needs no password; the file of the tokens, in the host's state, is 0600 and without it."""
        register(lamp, place)
        (path,) = (lamp.host.state / "cloud").glob("*.tokens")
        assert path.stat().st_mode & 0o077 == 0
        assert place.cloud.sign_ins.password not in path.read_text()
        place.cloud.store.nodes.clear()
        access = dataclasses.replace(place.access(), password_file=None)
        with pytest.raises(UnitsFailed):
            list(look_up_units(lamp, LookUpRequest((BATCH,), access)))

    def test_loose_tokens_are_refused(self, lamp: Workspace, place: Site) -> None:
        """Tokens that others can read are not used."""
        register(lamp, place, most=1)
        for path in (lamp.host.state / "cloud").glob("*.tokens"):
            path.chmod(0o644)
        with pytest.raises(InputError, match="other users of this host can use this token file"):
            list(look_up_units(lamp, LookUpRequest((BATCH,), place.access())))


class TestSignIn:
    """Sign-ins, and tokens that end."""

    def test_a_wrong_password(self, lamp: Workspace, place: Site) -> None:
        """A wrong password is bad input that names the user, never the password."""
        place.cloud.sign_ins.password = "another"
        with pytest.raises(InputError, match="refuses the sign-in of admin@example") as caught:
            register(lamp, place)
        assert caught.value.cause == "sign-in"
        assert "rehearsal" not in f"{caught.value} {caught.value.hint}"

    def test_user_and_password_are_asked_for(self, lamp: Workspace, place: Site) -> None:
        """On a terminal rmfab asks for what is not set: the password once."""
        text = place.deployment.read_text()
        place.deployment.write_text("".join(line for line in text.splitlines(True) if "user" not in line))
        notebook = Notebook("admin@example.com", "rehearsal")
        access = dataclasses.replace(place.access(), password_file=None)
        list(register_units(lamp, RegisterRequest((BATCH,), access), notebook))
        proven(lamp, place)
        assert notebook.questions == ["User of the cloud", f"Password of admin@example.com at {place.cloud.api}"]

    def test_nobody_to_ask(self, lamp: Workspace, place: Site) -> None:
        """Without a terminal the error says how to pass the password."""
        access = dataclasses.replace(place.access(), password_file=None)
        with pytest.raises(InputError, match="a password is required") as caught:
            list(register_units(lamp, RegisterRequest((BATCH,), access)))
        assert "RMFAB_CLOUD_PASSWORD_FILE or --password-file" in str(caught.value.hint)

    def test_a_token_that_ends_while_a_job_runs(self, lamp: Workspace, serve: Open) -> None:
        """A token that expires in mid-poll is renewed, without the password."""
        with serve(looks=20) as place:
            place.cloud.sign_ins.lifetime = timedelta(minutes=3)
            if isinstance(place.cloud, VirtualNeo):
                place.cloud.key_lifetime = timedelta(minutes=3)
            register(lamp, place)
            proven(lamp, place)
            sign_ins = [one for one in place.server.calls if "login2" in one or "cognito" in one]
            assert len(sign_ins) > 2

    def test_tokens_that_the_server_forgot(self, lamp: Workspace, place: Site) -> None:
        """Revoked tokens are replaced by a new sign-in."""
        register(lamp, place, most=2)
        place.cloud.sign_ins.revoke()
        place.cloud.store.nodes.clear()
        if isinstance(place.cloud, VirtualNeo):
            place.cloud.keys.clear()
        with pytest.raises(UnitsFailed):
            list(look_up_units(lamp, LookUpRequest((BATCH,), place.access())))

    @pytest.mark.parametrize("days", [-2, 2])
    def test_a_wrong_clock(self, lamp: Workspace, place: Site, clock: Clock, days: int) -> None:
        """A clock that is two days off is named as the cause, with both times."""
        lamp.now = lambda: clock.now() + timedelta(days=days)
        place.cloud.sign_ins.lifetime = timedelta(hours=1)
        if isinstance(place.cloud, VirtualRainmaker) and days < 0:
            register(lamp, place)  # its tokens look valid for longer, and are
            return
        with pytest.raises(StationError, match="this host's clock is wrong") as caught:
            register(lamp, place)
        assert caught.value.cause == "api-clock"


class TestRefused:
    """What the clouds refuse."""

    def test_a_job_of_before(self, lamp: Workspace, serve: Open) -> None:
        """Units that a job of before registered, which was given up, are registered: Neo reports them as duplicates."""
        with serve(looks=None) as place:
            with pytest.raises(StationError):
                register(lamp, place)
            (task,) = place.cloud.store.tasks.values()
            task.looks = place.cloud.looks = 1
            if isinstance(place.cloud, VirtualNeo):
                place.cloud._look(task)
                place.cloud.duplicates = True
            else:
                place.cloud._status(task.id)
            assert in_cloud(place) == certificates(lamp)
            assert register(lamp, place, again=True)[0].registered == UNITS
            assert in_cloud(place) == certificates(lamp)

    def test_a_node_with_a_different_certificate(self, lamp: Workspace, place: Site, clock: Clock) -> None:
        """A node that the cloud had before the upload is named, and gets no second certificate; the others are
        registered. Neo would add it, and report nothing: rmfab asks before it uploads."""
        node_id = first_node(lamp)
        place.cloud.store.nodes[node_id] = CloudNode(node_id, clock.now() - timedelta(days=3), [OTHER])
        for _ in range(2):
            with pytest.raises(UnitsFailed, match="could not be registered; see `rmfab trace LMP-000001`"):
                register(lamp, place)
        assert in_cloud(place) == certificates(lamp) | {node_id: [OTHER]}
        events = unit_events(lamp, "LMP-000001")
        assert [(one.outcome, one.cause) for one in events] == [(Outcome.FAIL, "node-taken")] * 2
        assert "does not tell with which certificate" in str(events[0].reason)
        assert [event.outcome for event in unit_events(lamp, "LMP-000002")] == [Outcome.PASS]
        assert lamp.ledger.named("LMP-000001").standing.cause is None
        del place.cloud.store.nodes[node_id]
        assert register(lamp, place)[0].registered == 1
        assert in_cloud(place) == certificates(lamp)

    def test_all_are_taken(self, lamp: Workspace, neo: Site, clock: Clock) -> None:
        """If Neo has all of them, nothing is uploaded, and each is named."""
        for node_id in certificates(lamp):
            neo.cloud.store.nodes[node_id] = CloudNode(node_id, clock.now(), [OTHER])
        with pytest.raises(UnitsFailed, match="3 of 3 units could not be registered"):
            register(lamp, neo)
        assert (neo.cloud.store.tasks, neo.cloud.storage.objects) == ({}, {})

    def test_a_mismatch(self, lamp: Workspace, neo: Site, clock: Clock) -> None:
        """A Neo that compares certificates says so: a node that another job registered meanwhile is named."""
        assert isinstance(neo.cloud, VirtualNeo)
        neo.cloud.mismatches, neo.cloud.looks = True, None
        with pytest.raises(StationError):
            register(lamp, neo)
        (task,) = neo.cloud.store.tasks.values()
        node_id, task.looks = first_node(lamp), 1
        neo.cloud.store.nodes[node_id] = CloudNode(node_id, clock.now(), [OTHER])
        with pytest.raises(UnitsFailed):
            register(lamp, neo)
        (event,) = unit_events(lamp, "LMP-000001")
        assert (event.cause, "with a different certificate" in str(event.reason)) == ("node-taken", True)
        assert in_cloud(neo)[node_id] == [OTHER]

    def test_rows_that_fail(self, lamp: Workspace, place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failed row comes back as its unit, with the cloud's reason; the next run registers it alone."""
        from rmfab.virtual.cloud import neo, rainmaker
        from rmfab.virtual.cloud.certificates import UnfitCertificateError, read_certificate

        broken = first_node(lamp)

        def refuse(pem: str) -> object:
            found = read_certificate(pem)
            if found.node_id == broken:
                raise UnfitCertificateError("x509: refused for a test")
            return found

        module = neo if isinstance(place.cloud, VirtualNeo) else rainmaker
        with monkeypatch.context() as patched:
            patched.setattr(module, "read_certificate", refuse)
            with pytest.raises(UnitsFailed):
                register(lamp, place)
        (event,) = unit_events(lamp, "LMP-000001")
        told = "INVALID_CERT: x509: refused" if module is neo else "1 of 3 nodes could not be registered"
        assert (event.outcome, event.cause) == (Outcome.FAIL, "not-registered")
        assert told in str(event.reason)
        assert register(lamp, place)[0].registered == 1
        proven(lamp, place, jobs=2)

    def test_not_an_administrator(self, lamp: Workspace, neo: Site) -> None:
        """An account that may not register is told so."""
        assert isinstance(neo.cloud, VirtualNeo)
        neo.cloud.super_admin = False
        with pytest.raises(StationError, match="Forbidden") as caught:
            register(lamp, neo)
        assert (caught.value.cause, "super admin" in str(caught.value.hint)) == ("api-refused", True)
        assert lamp.ledger.jobs_in(neo.cloud.api) == ()

    def test_another_version(self, lamp: Workspace, rainmaker: Site) -> None:
        """An API that does not speak version v1 gets no password."""
        assert isinstance(rainmaker.cloud, VirtualRainmaker)
        rainmaker.cloud.versions = ("v2",)
        with pytest.raises(StationError, match="not the API of ESP RainMaker in version v1") as caught:
            register(lamp, rainmaker)
        assert caught.value.cause == "api-version"
        assert rainmaker.server.calls == ["GET /dev/apiversions"]

    @pytest.mark.parametrize(("moves", "left"), [(3, 0), (1000, 995)])
    def test_a_user_who_is_moved(self, lamp: Workspace, rainmaker: Site, moves: int, left: int) -> None:
        """Error 101044 is tried again, and not for ever."""
        assert isinstance(rainmaker.cloud, VirtualRainmaker)
        rainmaker.cloud.moves = moves
        if left == 0:
            register(lamp, rainmaker)
            proven(lamp, rainmaker)
        else:
            with pytest.raises(StationError, match="error 101044") as caught:
                register(lamp, rainmaker)
            assert caught.value.cause == "sign-in-moved"
        assert rainmaker.cloud.moves == left


class TestJobs:
    """Jobs that do not end, or that end unclearly."""

    def test_a_job_that_does_not_end(self, lamp: Workspace, serve: Open, clock: Clock) -> None:
        """The deadline is said with the job; the same command waits for it again, --again starts a new one."""
        with serve(looks=None) as place:
            began = clock.now()
            with pytest.raises(StationError, match="has not ended in 15 minutes") as caught:
                register(lamp, place)
            assert caught.value.cause == "job-stuck"
            assert timedelta(minutes=15) <= clock.now() - began < timedelta(minutes=17)
            with pytest.raises(StationError):
                register(lamp, place)
            assert len(place.cloud.store.tasks) == 1
            place.cloud.looks = 1
            register(lamp, place, again=True)
            assert in_cloud(place) == certificates(lamp)
            assert all(job.ended for job in lamp.ledger.jobs_in(place.cloud.api))

    def test_a_longer_wait(self, lamp: Workspace, serve: Open, clock: Clock) -> None:
        """--wait limits it differently."""
        with serve(looks=None) as place:
            began = clock.now()
            with pytest.raises(StationError, match="has not ended in 40 minutes"):
                register(lamp, place, wait=timedelta(minutes=40))
            assert clock.now() - began >= timedelta(minutes=40)

    def test_a_job_that_the_cloud_forgot(self, lamp: Workspace, serve: Open) -> None:
        """A job that is gone is named, with the way out."""
        with serve(looks=None) as place:
            with pytest.raises(StationError):
                register(lamp, place)
            place.cloud.store.tasks.clear()
            with pytest.raises(StationError) as caught:
                register(lamp, place)
            assert (caught.value.cause, "--again" in str(caught.value.hint)) == ("job-unknown", True)

    def test_an_unclear_end(self, lamp: Workspace, neo: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """If Neo counts failed rows and does not name them, no unit counts as registered; the next run settles it."""
        with monkeypatch.context() as patched:
            described = neo.cloud._described
            patched.setattr(
                neo.cloud, "_described", lambda task: described(task) | ({"failed_count": 1} if task.ended else {})
            )
            with pytest.raises(StationError) as caught:
                register(lamp, neo)
        assert caught.value.cause == "job-unclear"
        assert unit_events(lamp, "LMP-000001") == []
        assert register(lamp, neo)[0].registered == UNITS


class TestLookedUp:
    """`register --check`."""

    def looked_up(
        self, lamp: Workspace, place: Site, terminal: Terminal = UNATTENDED
    ) -> tuple[LookUpSummary, dict[str, UnitLookedUp]]:
        events = list(look_up_units(lamp, LookUpRequest((BATCH,), place.access()), terminal))
        (summary,) = [one for one in events if isinstance(one, LookUpSummary)]
        return summary, {one.serial: one for one in events if isinstance(one, UnitLookedUp)}

    def test_registered_and_connected(self, lamp: Workspace, place: Site, clock: Clock) -> None:
        """A unit that connected after the station's last check in its name has connected by itself."""
        register(lamp, place)
        nodes = [str(one.node_id) for one in lamp.ledger.identities(BATCH)]
        for node_id in nodes[:2]:
            place.cloud.store.connect(node_id, clock.now())
        for serial in ("LMP-000001", "LMP-000002"):
            event = Event(timestamp(clock.now()), EventKind.CHECK, serial=serial, outcome=Outcome.PASS)
            lamp.ledger.checked("bench", [event])
        clock.wait(3600)
        place.cloud.store.connect(nodes[1], clock.now())
        place.cloud.store.connect(nodes[2], clock.now())
        summary, found = self.looked_up(lamp, place)
        assert (summary.registered, summary.missing, summary.connected) == (UNITS, 0, 2)
        assert found["LMP-000001"].connected is None
        assert found["LMP-000002"].connected == found["LMP-000003"].connected == timestamp(clock.now())

    def test_a_missing_unit(self, lamp: Workspace, place: Site) -> None:
        """A unit that the cloud does not have any more is named, and the next run registers it again."""
        register(lamp, place)
        del place.cloud.store.nodes[first_node(lamp)]
        with pytest.raises(UnitsFailed, match="does not have 1 of 3 units, such as LMP-000001"):
            self.looked_up(lamp, place)
        (event,) = unit_events(lamp, "LMP-000001", EventKind.LOOKUP)
        assert (event.outcome, event.cause) == (Outcome.FAIL, "not-registered")
        assert register(lamp, place)[0].registered == 1

    def test_units_that_were_registered_elsewhere(self, lamp: Workspace, place: Site, clock: Clock) -> None:
        """Units that a different tool registered are known from then on, and are not uploaded; their certificates are
        not proven, and a warning says what proves them."""
        for node_id, ids in certificates(lamp).items():
            place.cloud.store.nodes[node_id] = CloudNode(node_id, clock.now(), list(ids))
        notebook = Notebook()
        summary, found = self.looked_up(lamp, place, notebook)
        assert (summary.registered, summary.unproven) == (UNITS, UNITS)
        assert {one.proof for one in found.values()} == {None}
        assert "a different tool registered 3 units" in str(notebook.warnings)
        assert register(lamp, place)[0].before == UNITS
        assert place.cloud.store.tasks == {}

    def test_what_proves_them(self, lamp: Workspace, place: Site, clock: Clock) -> None:
        """A check at the cloud's own broker proves a certificate, a job of this ledger too."""
        one, *others = lamp.ledger.identities(BATCH)
        for unit in others:
            lamp.ledger.void(unit.name, reason="lost", station="bench", ts=timestamp(clock.now()))
        place.cloud.store.nodes[str(one.node_id)] = CloudNode(str(one.node_id), clock.now(), [OTHER])
        for broker, proof in (("localhost:8883", None), ("mqtt.example.org:443", RegistrationProof.CHECK)):
            self.let_in(lamp, one, broker, clock)
            assert self.looked_up(lamp, place)[1][one.serial].proof is proof
        assert self.looked_up(lamp, place)[0].unproven == 0
        del place.cloud.store.nodes[str(one.node_id)]
        with pytest.raises(UnitsFailed):
            self.looked_up(lamp, place)
        register(lamp, place)
        assert self.looked_up(lamp, place)[1][one.serial].proof is RegistrationProof.JOB

    def test_a_node_id_that_is_taken(self, lamp: Workspace, place: Site, clock: Clock) -> None:
        """A unit that could not be registered, since the cloud had its node id before, stays so until a check proves
        that the cloud has its certificate."""
        one = next(iter(lamp.ledger.identities(BATCH)))
        place.cloud.store.nodes[str(one.node_id)] = CloudNode(
            str(one.node_id), clock.now() - timedelta(days=3), [OTHER]
        )
        with pytest.raises(UnitsFailed):
            register(lamp, place)
        told = "has the node ids of 1 from others of 3 units, such as LMP-000001; see `rmfab trace LMP-000001`"
        with pytest.raises(UnitsFailed, match=told):
            self.looked_up(lamp, place)
        (event,) = unit_events(lamp, one.serial, EventKind.LOOKUP)
        assert (event.outcome, event.cause) == (Outcome.FAIL, "node-taken")
        with pytest.raises(UnitsFailed):
            register(lamp, place)
        self.let_in(lamp, one, "mqtt.example.org:443", clock)
        assert self.looked_up(lamp, place)[0].registered == UNITS
        assert register(lamp, place)[0].before == UNITS

    def test_a_node_that_is_older_than_its_certificate(self, lamp: Workspace, rainmaker: Site, clock: Clock) -> None:
        """ESP RainMaker tells since when it has a node: one from before its certificate is not the unit."""
        for days, node_id in enumerate(certificates(lamp)):
            registered = clock.now() - timedelta(days=3 * days)
            rainmaker.cloud.store.nodes[node_id] = CloudNode(node_id, registered, [OTHER])
        with pytest.raises(UnitsFailed, match="has the node ids of 2 from others of 3 units, such as LMP-000002"):
            self.looked_up(lamp, rainmaker)

    def let_in(self, lamp: Workspace, one: LedgerIdentity, broker: str, clock: Clock) -> None:
        """Record that *broker* let the unit in."""
        details = {"broker": broker, "certificate": one.record.certificate_id}
        event = Event(timestamp(clock.now()), EventKind.CHECK, serial=one.name, outcome=Outcome.PASS, details=details)
        lamp.ledger.checked("bench", [event])


def test_no_deployment(lamp: Workspace) -> None:
    """Without a deployment nothing is sent, and the missing keys are named."""
    with pytest.raises(InputError, match=r"\[cloud\] lacks api") as caught:
        list(register_units(lamp, RegisterRequest((BATCH,), CloudAccess())))
    assert caught.value.cause == "no-deployment"
