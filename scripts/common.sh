# shellcheck shell=bash
# What several of these scripts do: messages, packages, building. Sourced, from the directory above.

# A python3 or meson of pyenv and the like would not find the packages of the distribution.
if [[ -e /etc/debian_version ]]; then PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH"; fi

say() { printf '==> %s\n' "$*" >&2; }
die() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

# --- packages

is_installed() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing packages takes root and there is no sudo; as root, run: ${*}"
    fi
}

update_index() {
    [[ ${index_is_fresh:-no} == no ]] || return 0
    say "apt-get update"
    as_root apt-get update -q ||
        say "the package index could not be refreshed in full; trying with what is there"
    index_is_fresh=yes
}

# need PACKAGE...: installs those that are missing.
need() {
    [[ -z ${EPLB_NO_INSTALL:-} ]] || return 0
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        die "this system has no apt-get, so install what these Debian packages hold in its own way:
    $*
then go on with: EPLB_NO_INSTALL=1 ./dev ..."
    fi
    local package missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    update_index
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}" ||
        die "apt-get could not install: ${missing[*]}
Its message is above. Once the packages are there, run ./dev again; or, to do without them,
EPLB_NO_INSTALL=1 ./dev ..."
}

# need_servers SERVICES PACKAGE...: the tests and the benchmark start servers of their own, in directories of
# their own. Debian's packages would start one more, as a service, and start it again at every boot: not on a
# machine that did not have it before. SERVICES is a list like "haproxy nginx".
need_servers() {
    [[ -z ${EPLB_NO_INSTALL:-} ]] || return 0
    local services=$1 service package policy=/usr/sbin/policy-rc.d new=()
    shift
    for package in "$@"; do
        is_installed "$package" || new+=("$package")
    done
    ((${#new[@]})) || return 0
    for service in $services; do
        # What is there already is not ours to switch off.
        if is_known_service "$service"; then services=${services//$service/}; fi
    done
    if [[ ! -e $policy ]]; then
        say "installing ${new[*]} without starting services ($policy says so while that takes)"
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        # shellcheck disable=SC2016  # the expansion is for the script that is written
        as_root sh -c 'printf "#!/bin/sh\nexit 101\n" > "$1" && chmod 755 "$1"' sh "$policy"
    fi
    need "$@"
    if [[ $(trap -p EXIT) ]]; then
        as_root rm -f "$policy"
        trap - EXIT
    fi
    for service in $services; do
        is_known_service "$service" || continue
        say "this script installed $service: its service is switched off, now and at boot"
        if [[ -d /run/systemd/system ]]; then
            as_root systemctl disable --quiet --now "$service"
        else
            as_root update-rc.d "$service" disable
        fi || say "that did not work; see whether a server runs that nobody asked for"
    done
}

is_known_service() {
    [[ -e /etc/init.d/$1 || -e /lib/systemd/system/$1.service ]]
}

# clang, with what its sanitizers need. Sets clang_version to -19, or to nothing (the distribution's own) where there
# is no clang 19.
need_clang() {
    clang_version=-19
    if [[ -n ${EPLB_NO_INSTALL:-} ]]; then
        command -v clang++-19 >/dev/null || clang_version=
        return
    fi
    if ! is_installed clang-19; then
        update_index
        apt-cache show clang-19 >/dev/null 2>&1 || clang_version=
    fi
    need "clang$clang_version" "libclang-rt$clang_version-dev"
}

# --- building

build_packages=(g++ meson ninja-build pkg-config
    libfmt-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libxxhash-dev
    libc-ares-dev)

# configure DIRECTORY OPTION...: sets the directory up, again if anything it was made with has changed.
configure() {
    local dir=$1
    shift
    local stamp="$dir/.made-with" made_with
    # A directory made by another meson or compiler, or in another place, cannot be reconfigured.
    made_with="$PWD, meson $(meson --version), $CXX $($CXX -dumpfullversion -dumpversion)"
    if [[ -d $dir && ! -d $dir/meson-private ]]; then
        die "$PWD/$dir is in the way and was not made by meson; move it elsewhere"
    fi
    if [[ -d $dir ]] && [[ $(head -n 1 "$stamp" 2>/dev/null) != "$made_with" ]]; then
        say "$dir was made elsewhere or with other tools: starting it afresh"
        rm -rf "$dir"
    fi
    if [[ ! -d $dir ]]; then
        say "meson setup $dir $*"
        meson setup "$dir" "$@" || die "$dir could not be configured; meson's message is above"
    elif [[ $(tail -n +2 "$stamp") != "$*" ]]; then
        # Not --reconfigure: meson 1.0 accepts it with changed options, and leaves them as they were.
        say "meson setup --wipe $dir $*"
        meson setup --wipe "$dir" "$@" || die "$dir could not be configured; meson's message is above"
    fi
    printf '%s\n%s\n' "$made_with" "$*" >"$stamp"
}

# compile DIRECTORY TARGET...
compile() {
    say "building in $1"
    ninja -j "$(nproc)" -C "$@" ||
        die "the build in $1 failed; the first error is above. If it makes no sense: rm -r $1, and again"
}

build_release() {
    need "${build_packages[@]}"
    export CXX=${CXX:-g++}
    configure build --buildtype=release -Db_lto=true -Dtests=false
    compile build all
    ln -sfn src/app/eplb build/eplb
}
