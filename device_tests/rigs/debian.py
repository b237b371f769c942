"""Debian packages of any architecture, fetched through an apt configuration of its own and unpacked without running their scripts."""

import os
import subprocess
from pathlib import Path

SUITE = "trixie"
MIRROR = "EDGEDISTILL_DEBIAN_MIRROR"
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_LEFT_OUT = [f"--exclude=./usr/share/{name}/*" for name in ("man", "doc", "locale", "info", "lintian", "bash-completion")]


class RigUnavailable(Exception):
    """The rig cannot be built or started on this machine; the text says why."""


def run(*command: object, timeout_s: float = 300, **options: object) -> str:
    """Standard output of a command that must succeed; RigUnavailable with the end of its standard error otherwise."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, **options)  # type: ignore[call-overload]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigUnavailable(f"{words[0]}: {error}") from None
    if done.returncode:
        raise RigUnavailable(f"`{' '.join(words)[:200]}` ended with {done.returncode}: {done.stderr.strip()[-600:]}")
    return str(done.stdout)


def mirror() -> str:
    """The Debian mirror: the environment variable EDGEDISTILL_DEBIAN_MIRROR, else that of this machine's apt."""
    if found := os.environ.get(MIRROR):
        return found
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    names = {release.get("VERSION_CODENAME", "stable").strip('"'), "stable", "testing", "unstable"}
    for line in run("apt-get", "indextargets", "--no-release-info", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)").splitlines():
        suite, component, uri = line.split(" ", 2)
        if component == "main" and suite in names:
            return uri
    raise RigUnavailable(f"no Debian mirror in this machine's apt configuration: set {MIRROR}")


def fetch(packages: list[str], architecture: str, folder: Path) -> list[Path]:
    """The .deb files of `packages` and of all that they depend on, downloaded to `folder`; apt's own state is not touched."""
    if not _KEYS.exists():
        raise RigUnavailable(f"{_KEYS} is missing: install debian-archive-keyring")
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYS} arch={architecture}] {mirror()} {SUITE} main\n")
    (folder / "apt.conf").write_text(
        f"""APT::Architecture "{architecture}"; APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root"; APT::Install-Recommends "false"; Acquire::Languages "none"; Acquire::Retries "3";
Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache"; Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
"""
    )
    # Without the option it ends with 0 when the mirror does not answer.
    run("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update", env=_environment(folder))
    run("apt-get", "-qq", "-y", "--download-only", "install", *packages, env=_environment(folder))
    return sorted((folder / "cache/archives").glob("*.deb"))


def fetch_kernel(package: str, folder: Path) -> Path:
    """The kernel that `package` stands for, without what it depends on, through the configuration that `fetch` left in `folder`."""
    told = run("apt-cache", "depends", package, env=_environment(folder))
    name = next(line.split()[1] for line in told.splitlines() if "Depends: linux-image" in line)
    run("apt-get", "-qq", "download", name, env=_environment(folder), cwd=folder)
    (deb,) = folder.glob(f"{name}_*.deb")
    return deb


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {"APT_CONFIG": f"{folder}/apt.conf", "LC_ALL": "C"}


def unpack(debs: list[Path], root: Path) -> None:
    """Put the files of `debs` under `root`, whose /bin, /sbin and /lib are links into /usr. Documentation is left out."""
    (root / "usr").mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(exist_ok=True)
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    for deb in debs:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as tar:
            run("tar", "-x", "-C", root, "--keep-directory-symlink", *_LEFT_OUT, stdin=tar.stdout)
        if tar.returncode:
            raise RigUnavailable(f"{deb.name} cannot be unpacked")
