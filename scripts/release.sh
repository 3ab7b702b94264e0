#!/usr/bin/env bash
# `make release VERSION=1.2.3`: the version everywhere, the notes under it, a commit and an annotated tag. Pushes nothing.
#
#   release.sh VERSION [--dry-run]   --dry-run says what would be done, after the same refusals
#   release.sh --notes VERSION       the notes of a version, as the tag and the release's page have them
#   release.sh --verify TAG          whether a tag is such a release, on the branch that is checked out
source "$(dirname "$0")/lib.sh"

RELEASE_BRANCH=${RELEASE_BRANCH:-main}

# The section of version $1 in the changelog that stands on standard input, without its heading.
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

# Every reason against releasing version $1, one a line.
refusals() {
  local version=$1 branch newest present unreleased
  [[ $version =~ $VERSION_FORM ]] || { echo "the version has to read 1.2.3 or 1.2.3-rc.1, not '$version'"; return; }
  [ -z "$(git status --porcelain)" ] || echo "there are changes that are not committed"
  branch=$(git branch --show-current)
  [ "$branch" = "$RELEASE_BRANCH" ] || echo "this is branch '$branch', and releases are made on $RELEASE_BRANCH"
  newest=$(released)
  present=$(version_in <Cargo.toml)
  if git rev-parse --quiet --verify "refs/tags/v$version" >/dev/null; then
    echo "the tag v$version exists"
  elif [ -n "$newest" ] && ! is_higher "$version" "$newest"; then
    echo "$version is not higher than $newest, which is released"
  elif is_higher "$present" "$version"; then
    echo "$version is lower than $present, which Cargo.toml says"
  fi
  unreleased=$(section Unreleased <CHANGELOG.md)
  grep -q '^- ' <<<"$unreleased" || echo "CHANGELOG.md has nothing under [Unreleased]"
  [ -z "$(section "$version" <CHANGELOG.md)" ] || echo "CHANGELOG.md has a section [$version] already"
}

release() {
  local version=$1 found day before
  found=$(refusals "$version")
  if [ -n "$found" ]; then
    printf '%s\n' "$found" >&2
    die "nothing is released"
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
  say "$(git log -1 --format='%h %s'), tagged v$version. Pushing it releases it:"
  echo "git push --atomic origin $RELEASE_BRANCH v$version"
}

# Every reason why tag $1 is no release of this branch, one a line.
unlike_a_release() {
  local tag=$1 version=${1#v} file found
  [[ $version =~ $VERSION_FORM && $tag = v* ]] || { echo "$tag is no version's name"; return; }
  [ "$(git cat-file -t "refs/tags/$tag" 2>/dev/null)" = tag ] || { echo "$tag is no annotated tag"; return; }
  git merge-base --is-ancestor "$tag^{commit}" HEAD || echo "$tag is not on this branch"
  found=$(git show "$tag:Cargo.toml" | version_in)
  [ "$found" = "$version" ] || echo "Cargo.toml says $found"
  for file in version appVersion; do
    found=$(git show "$tag:chart/Chart.yaml" | sed -n "s/^$file: \"\{0,1\}\([^\"]*\).*/\1/p")
    [ "$found" = "$version" ] || echo "$file in chart/Chart.yaml is $found"
  done
  [ "$(git show "$tag:docs/openapi.yaml" | grep -cxF "  version: $version")" = 1 ] ||
    echo "docs/openapi.yaml has another version"
  [ "$(git show "$tag:docs/APPLICATION.md" | grep -cF "payment-latency-api\",\"version\":\"$version\"")" = 1 ] ||
    echo "docs/APPLICATION.md has another version"
  [ -n "$(git show "$tag:CHANGELOG.md" | section "$version")" ] || echo "CHANGELOG.md has no section [$version]"
}

need git git
case ${1:-} in
  --notes)
    found=$(section "${2:-}" <CHANGELOG.md)
    [ -n "$found" ] || die "CHANGELOG.md has no section [${2:-}]"
    printf '%s\n' "$found"
    ;;
  --verify)
    found=$(unlike_a_release "${2:-}")
    [ -z "$found" ] || die "$found"
    say "$2 is a release"
    ;;
  *) release "$@" ;;
esac
