#!/usr/bin/env bash
# A build server may write to staging, and never to production: not by a mistake in the relationships either. Its credential is a lease,
# narrowed to what one build needs.
. "$(dirname "$0")/story.sh"

tell "Databases belong to an environment. An environment that is closed to builds is so whatever else is written about them."
cat >"$work/schema.zed" <<'ZED'
definition build {}

definition person {}

definition environment {
  relation deployer: build | person
  relation closed_to: build:*
  permission deploy = deployer - closed_to
}

definition database {
  relation environment: environment
  permission write = environment->deploy
}
ZED
stonetown schema write "$work/schema.zed"
stonetown relationship create database:shop-staging environment environment:staging
stonetown relationship create database:shop environment environment:production
stonetown relationship create environment:production closed_to 'build:*'

tell "The build server is a principal, and Ada answers for it. The gateway before the databases asks about builds."
stonetown principal create ada --kind human
stonetown principal create builds --kind build --owner ada --subject build:main
stonetown principal create gateway --kind service --owner ada
stonetown principal give gateway checker database
stonetown principal give builds writer environment#deployer --reason "lets itself in where builds may go"
credential ada
credential gateway
as ada
credential builds

tell "It lets itself into staging. The same mistake with production opens nothing."
as builds
stonetown relationship create environment:staging deployer build:main
stonetown relationship create environment:production deployer build:main
as gateway
allowed database:shop-staging write build:main
denied database:shop write build:main

tell "What would open production is not the build server's to write, or to see."
as builds
refused relationship delete environment:production closed_to 'build:*'
refused relationship create database:shop environment environment:staging
refused relationship read environment
refused permission check database:shop write build:main
refused principal give builds writer environment#closed_to

tell "For one build it asks for a credential that only checks one database, and ends by itself."
as root
stonetown principal give builds checker database
as builds
"$command" credential issue builds --ttl 2s --scope 'database:shop-staging#write' >"$work/one-build.token" 2>/dev/null
show stonetown credential issue builds --ttl 2s --scope 'database:shop-staging#write'
as one-build
allowed database:shop-staging write build:main
refused permission check database:shop write build:main
refused relationship create environment:staging deployer build:other
refused credential issue builds
sleep 3
refused permission check database:shop-staging write build:main

tell "The token leaked into a build log. Once it is revoked, it proves nothing."
as ada
stonetown credential revoke --all builds --reason "in a build log"
as builds
refused whoami
as gateway
allowed database:shop-staging write build:main

tell "The build server is replaced. Retiring it takes its relationships with it; root administers, and first lets itself see and delete them."
as root
stonetown principal give root lister store:default
stonetown principal give root revoker store:default
stonetown principal retire builds --dry-run
stonetown principal retire builds
as gateway
denied database:shop-staging write build:main
