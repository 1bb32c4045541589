"""The controller as people start it, and everything that can be in its way."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from channel.client import request

RYU_MANAGER = str(Path(sys.executable).with_name("ryu-manager"))
COMMANDS = [
    pytest.param((sys.executable, "-m", "controller"), id="module"),
    pytest.param((RYU_MANAGER, "controller.app"), id="ryu-manager"),
]
#: A private loopback, and a /var/lib and an /etc/sluice that are nobody else's.
_ALONE = ("unshare", "--net", "--mount", "--", "sh", "-ec")
_PREPARE = "ip link set lo up; mount -t tmpfs none /var/lib; [ ! -d /etc/sluice ] || mount -t tmpfs none /etc/sluice; "
_SECONDS_TO_END = 5.0


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_starts_listens_answers_and_ends(new_controller, wait_until, command, how):
    controller = new_controller()
    controller.start(command, ("--verbose", *controller.flags))
    status = wait_until(controller.answers)
    assert status["hosts"] == []
    assert _listens(controller.agents)
    wait_until(lambda: _listens(controller.openflow))
    assert controller.socket.stat().st_mode & 0o077 == 0
    assert controller.state.stat().st_mode & 0o777 == 0o700
    (reader,) = wait_until(controller.children)
    begin = time.monotonic()
    controller.process.send_signal(how)
    assert controller.process.wait(_SECONDS_TO_END) == 0
    assert time.monotonic() - begin < _SECONDS_TO_END
    assert not controller.socket.exists()
    assert not Path(f"/proc/{reader}").exists()
    assert controller.lines("Traceback") == []
    assert controller.lines("PROVIDES EventOFPStateChange") != []  # that is what --verbose says


def test_ends_at_once_when_asked_while_it_starts(new_controller, wait_until):
    controller = new_controller()
    controller.start()
    wait_until(controller.socket.exists)
    controller.process.send_signal(signal.SIGTERM)
    assert controller.process.wait(_SECONDS_TO_END) == 0
    assert not controller.socket.exists()


@pytest.mark.parametrize("form", ["--sluice-config={}", "environment"])
def test_other_ways_to_name_the_configuration(new_controller, wait_until, monkeypatch, form):
    controller = new_controller()
    named = (form.format(controller.config),) if form.startswith("--") else ()
    if not named:
        monkeypatch.setenv("SLUICE_CONFIG", str(controller.config))
    controller.start(flags=("--ofp-tcp-listen-port", str(controller.openflow), *named))
    wait_until(controller.answers)


@pytest.mark.lab
@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_configuration_the_defaults_count(wait_until, command, tmp_path):
    log = tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if name != "SLUICE_CONFIG"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*_ALONE, f'{_PREPARE} exec "$@"', "sh", *command], env=environment, stdout=output, stderr=output
        )
    try:
        place = Path(f"/proc/{process.pid}/root/var/lib/sluice/controller.sock")

        def ports():
            assert process.poll() is None, log.read_text()
            shown = subprocess.check_output(["nsenter", "-t", str(process.pid), "--net", "ss", "-Hltn"], text=True)
            return {line.split()[3] for line in shown.splitlines()} == {"127.0.0.1:6653", "127.0.0.1:6654"}

        wait_until(ports)
        assert request(place, {"op": "status"}, 5.0)["revision"] == 0
    finally:
        process.terminate()
        assert process.wait(_SECONDS_TO_END) == 0, log.read_text()


def test_plain_ryu_application_runs_under_our_ryu_manager(new_controller, wait_until, tmp_path):
    application = tmp_path / "plain.py"
    application.write_text(
        "from ryu.base import app_manager\n"
        "from ryu.controller import ofp_event\n"
        "from ryu.controller.handler import CONFIG_DISPATCHER, set_ev_cls\n"
        "from ryu.ofproto import ofproto_v1_3\n"
        "class Plain(app_manager.RyuApp):\n"
        "    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]\n"
        "    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)\n"
        "    def seen(self, event):\n"
        "        self.logger.info('plain saw %x', event.msg.datapath_id)\n"
    )
    controller = new_controller()  # for its port and its log alone
    controller.start((RYU_MANAGER, str(application)), ("--ofp-tcp-listen-port", str(controller.openflow)))
    wait_until(lambda: _listens(controller.openflow))
    with socket.create_connection(("127.0.0.1", controller.openflow), timeout=10) as switch:
        switch.sendall(struct.pack("!BBHI", 4, 0, 8, 1))
        assert switch.recv(8)[:2] == bytes((4, 0))
        switch.sendall(struct.pack("!BBHIQIBBHII", 4, 6, 32, 2, 0xABCDEF, 0, 254, 0, 0, 0, 0))
        wait_until(lambda: controller.lines("plain saw abcdef"))
    assert not controller.socket.exists()
    assert controller.children() == []
    controller.process.terminate()
    assert controller.process.wait(_SECONDS_TO_END) == 0


def test_ryu_application_that_ends_is_no_failure(new_controller, tmp_path):
    application = tmp_path / "short.py"
    application.write_text("from ryu.base import app_manager\nclass Short(app_manager.RyuApp):\n    pass\n")
    controller = new_controller()
    controller.start((RYU_MANAGER, str(application)), ("--ofp-tcp-listen-port", str(controller.openflow)))
    assert controller.process.wait(20) == 0


def _refused(controller, flags=None, command=(sys.executable, "-m", "controller")):
    """Start it in vain; return the line that says why."""
    arguments = controller.flags if flags is None else flags
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("controller: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("which", ["openflow", "agents"])
def test_port_taken(new_controller, command, which):
    controller = new_controller()
    port = getattr(controller, which)
    with socket.create_server(("127.0.0.1", port)):
        line = _refused(controller, command=command)
    assert f"127.0.0.1:{port} is in use: is another controller running?" in line
    assert not controller.socket.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_second_controller(new_controller, wait_until, command):
    first, second = new_controller(), new_controller()
    first.start()
    wait_until(first.answers)
    taken = second.config.read_text().replace("[controller]", f'[controller]\nsocket = "{first.socket}"')
    second.config.write_text(taken)
    line = _refused(second, command=command)
    assert f"{first.socket} is another controller's: stop that controller, or set controller.socket" in line
    assert first.status()["ok"]
    # Neither does a first one that is too busy to answer lose its socket.
    first.process.send_signal(signal.SIGSTOP)
    try:
        held = []
        with pytest.raises(BlockingIOError):
            while True:
                held.append(socket.socket(socket.AF_UNIX))
                held[-1].setblocking(False)
                held[-1].connect(str(first.socket))
        assert "stop that controller" in _refused(second)
    finally:
        first.process.send_signal(signal.SIGCONT)
        for peer in held:
            peer.close()
    wait_until(first.answers)


def test_same_agents_port_is_not_shared(new_controller, wait_until):
    first, second = new_controller(), new_controller()
    first.start()
    wait_until(first.answers)
    second.config.write_text(second.config.read_text().replace(str(second.agents), str(first.agents)))
    assert f"agents' address 127.0.0.1:{first.agents} is in use" in _refused(second)
    assert not second.socket.exists()


def test_socket_of_a_killed_controller_is_replaced(new_controller, wait_until):
    controller = new_controller()
    controller.start()
    wait_until(controller.answers)
    controller.end()
    assert controller.socket.exists()
    controller.start()
    wait_until(controller.answers)


def test_another_file_in_the_sockets_place_is_left_alone(new_controller):
    controller = new_controller()
    controller.state.mkdir()
    controller.socket.write_text("precious")
    assert "is there and is no socket" in _refused(controller)
    assert controller.socket.read_text() == "precious"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("state = ", "is not TOML"),
        ("colour = 'red'", "colour"),
        ("[controller]\nagent_listen = '127.0.0.1'", "is no address to listen on"),
        ("[controller]\nagent_listen = '192.0.2.1:6654'", "cannot be used (Cannot assign requested address)"),
    ],
)
def test_bad_configuration(new_controller, text, cause):
    controller = new_controller()
    if text is None:
        controller.config.unlink()
    else:
        controller.config.write_text(text)
    assert cause in _refused(controller)


def test_state_directory_not_writable(new_controller):
    controller = new_controller()
    controller.state.write_text("a file where the directory should be")
    line = _refused(controller)
    assert f"{controller.state} is not writable" in line
    assert "set 'state' to another directory" in line


def test_missing_ryu_configuration(new_controller):
    controller = new_controller()
    assert "/nonexistent" in _refused(controller, (*controller.flags, "--config-file", "/nonexistent"))


@pytest.mark.parametrize("settings", ["", "tls = false\n"], ids=["unsaid", "off"])
def test_without_tls_only_loopback_addresses_are_listened_on(new_controller, settings):
    controller = new_controller(settings)
    line = _refused(controller, (*controller.flags, "--ofp-listen-host", "0.0.0.0"))
    assert "OpenFlow, 0.0.0.0, can be reached by others" in line
    assert "controller.tls = true" in line
    controller.config.write_text(controller.config.read_text().replace("127.0.0.1", "0.0.0.0"))
    assert "the address for agents, 0.0.0.0" in _refused(controller)


def test_ryus_own_tls_is_not_for_us(new_controller):
    controller = new_controller()
    assert "controller.tls = true" in _refused(
        controller, (*controller.flags, "--ctl-privkey", "/k", "--ctl-cert", "/c")
    )


def test_an_authority_that_lost_its_key_is_said(new_controller):
    controller = new_controller("tls = true\n")
    (controller.state / "authority").mkdir(parents=True)
    (controller.state / "authority" / "ca.key").write_text("no key")
    assert "put it back" in _refused(controller)
