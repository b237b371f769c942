#!/bin/sh
# Installs a Swift compiler for the tests into FOLDER, as root: Debian 13 has one (swiftlang), older ones do not.
# usage: toolchain.sh FOLDER [MIRROR]; then EDGEDISTILL_SWIFT=FOLDER/in-swift pytest -m slow tests/test_glue_swift.py
# FOLDER gets a system of its own (3 GB); nothing else changes. Needs debootstrap.
set -eu
folder=$(realpath -m "$1")
root=$folder/root
repository=$(realpath "$(dirname "$0")/../../..")
mkdir -p "$folder"
[ -d "$root/usr/bin" ] || debootstrap --variant=minbase trixie "$root" ${2:+"$2"}
[ -x "$root/usr/bin/swiftc" ] || chroot "$root" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends swiftlang libc6-dev libstdc++-14-dev libssl3t64 git ca-certificates
cat > "$folder/in-swift" <<END
#!/bin/sh
# Runs a command in $root, which sees /tmp and the repository; the mounts end with the command.
exec unshare --mount --propagation private sh -c '
    root=$root
    mkdir -p "\$root/tmp" "\$root$repository"
    mount --bind /tmp "\$root/tmp"
    mount --bind $repository "\$root$repository"
    mount -t proc proc "\$root/proc"
    exec chroot "\$root" env -C "\$0" HOME=/root "\$@"' "\$PWD" "\$@"
END
chmod +x "$folder/in-swift"
"$folder/in-swift" swiftc --version
