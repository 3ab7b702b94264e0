#!/usr/bin/env bash
# `make release VERSION=1.2.3`: sets the version everywhere, puts the notes under it, and makes a commit and an
# annotated tag. Pushes nothing.
#
#   release.sh VERSION [--dry-run]   --dry-run says what would be done, after the same checks
#   release.sh --notes VERSION       prints the notes of a version or its tag, as the tag and the release's page have them
#   release.sh --verify TAG          checks whether a tag is such a release, on the branch that is checked out
source "$(dirname "$0")/lib.sh"

RELEASE_BRANCH=${RELEASE_BRANCH:-main}

# The section of version $1 in the changelog on standard input, without its heading.
section() {
  awk -v heading="## [$1]" 'index($0, "## [") == 1 { inside = index($0, heading) == 1; next } inside' |
    sed '/./,$!d'
}

# Whether version $1 is higher than $2. A candidate comes before its release, as `~` does in sort's order.
is_higher() {
  local one=${1/-/\~} other=${2/-/\~}
  [ "$one" != "$other" ] && [ "$(printf '%s\n' "$one" "$other" | sort -V | tail -n 1)" = "$one" ]
}

version_in() { sed -n 's/^version = "\(.*\)"/\1/p' | head -n 1; }

released() { git tag --list 'v[0-9]*' | sed 's/^v//; s/-/~/' | sort -V | tail -n 1 | tr '~' '-'; }

# Every reason against releasing version $1, one per line.
refusals() {
  local version=$1 branch newest present unreleased
  [[ $version =~ $VERSION_FORM ]] || { echo "VERSION='$version' is not valid: it must have the form 1.2.3 or 1.2.3-rc.1"; return; }
  [ -z "$(git status --porcelain)" ] || echo "there are uncommitted changes"
  branch=$(git branch --show-current)
  [ "$branch" = "$RELEASE_BRANCH" ] || echo "the current branch is '$branch', but releases are made on $RELEASE_BRANCH"
  newest=$(released)
  present=$(version_in <Cargo.toml)
  if git rev-parse --quiet --verify "refs/tags/v$version" >/dev/null; then
    echo "the tag v$version already exists"
  elif [ -n "$newest" ] && ! is_higher "$version" "$newest"; then
    echo "$version is not higher than $newest, which has been released"
  elif is_higher "$present" "$version" && [ "${version%%-*}" != "$present" ]; then
    echo "$version is lower than $present, the version in Cargo.toml"
  fi
  unreleased=$(section Unreleased <CHANGELOG.md)
  grep -q '^- ' <<<"$unreleased" || echo "CHANGELOG.md has nothing under [Unreleased]"
  [ -z "$(section "$version" <CHANGELOG.md)" ] || echo "CHANGELOG.md already has a section [$version]"
}

release() {
  local version=$1 found day before
  found=$(refusals "$version")
  if [ -n "$found" ]; then
    printf '%s\n' "$found" >&2
    die "nothing was released"
  fi
  day=$(date -u +%Y-%m-%d)
  if [ "${2:-}" = --dry-run ]; then
    say "would set version $version, commit, and tag v$version of $day with these notes:"
    section Unreleased <CHANGELOG.md
    return
  fi
  # The tree was clean, so a failure half-way is undone completely, including the commit.
  before=$(git rev-parse HEAD)
  trap 'git reset --quiet --hard "$before"' ERR
  scripts/version-set.sh "$version"
  sed -i "s/^## \[Unreleased\].*/## [Unreleased]\n\n## [$version] - $day/" CHANGELOG.md
  git commit --quiet --all --message "Release $version"
  # Verbatim, since headings begin as comments do.
  { printf 'Version %s\n\n' "$version"; section "$version" <CHANGELOG.md; } |
    git tag --annotate --cleanup=verbatim --file=- "v$version"
  trap - ERR
  say "$(git log -1 --format='%h %s'), tagged v$version. To release it, push it:"
  echo "git push --atomic origin $RELEASE_BRANCH v$version"
}

# Every reason why tag $1 is not a release of this branch, one per line.
unlike_a_release() {
  local tag=$1 version=${1#v} file found
  [[ $version =~ $VERSION_FORM && $tag = v* ]] || { echo "$tag is not the tag of a version"; return; }
  [ "$(git cat-file -t "refs/tags/$tag" 2>/dev/null)" = tag ] || { echo "$tag is not an annotated tag"; return; }
  git merge-base --is-ancestor "$tag^{commit}" HEAD || echo "$tag is not on this branch"
  found=$(git show "$tag:Cargo.toml" | version_in)
  [ "$found" = "$version" ] || echo "the version in Cargo.toml is $found"
  for file in version appVersion; do
    found=$(git show "$tag:chart/Chart.yaml" | sed -n "s/^$file: \"\{0,1\}\([^\"]*\).*/\1/p")
    [ "$found" = "$version" ] || echo "$file in chart/Chart.yaml is $found"
  done
  [ "$(git show "$tag:docs/openapi.yaml" | grep -cxF "  version: $version")" = 1 ] ||
    echo "docs/openapi.yaml has another version"
  [ -n "$(git show "$tag:CHANGELOG.md" | section "$version")" ] || echo "CHANGELOG.md has no section [$version]"
}

need git git
case ${1:-} in
  --notes)
    version=${2:-}
    found=$(section "${version#v}" <CHANGELOG.md)
    [ -n "$found" ] || die "CHANGELOG.md has no section [${version#v}]"
    printf '%s\n' "$found"
    ;;
  --verify)
    found=$(unlike_a_release "${2:-}")
    [ -z "$found" ] || die "$found"
    say "$2 is a release"
    ;;
  *) release "$@" ;;
esac
