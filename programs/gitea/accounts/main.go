// Command accounts brings Gitea's database to what the platform declares, before Gitea starts: tables, sign-on by
// Keycloak, an account for programs, organisations with teams. It can be run any number of times; what else people have
// made there is left alone.
//
// Gitea's own command could do a part of it, but takes secrets as arguments, which other processes may read, and asks
// Keycloak for its configuration at once, so that the order of two servers' starts would matter.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"code.gitea.io/gitea/models/db"
	"code.gitea.io/gitea/modules/log"
	"code.gitea.io/gitea/modules/setting"
	"code.gitea.io/gitea/modules/storage"
	"code.gitea.io/gitea/services/versioned_migration"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: accounts APP_INI DECLARATION")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func secret(name string) (string, error) {
	path := os.Getenv(name)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s must name a file with a secret: %w", name, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// await makes the database's tables. Its account may be made at this moment: it is waited for.
func await(ctx context.Context) error {
	const patience, pause = 5 * time.Minute, 2 * time.Second
	last := ""
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		err := db.InitEngineWithMigration(ctx, versioned_migration.Migrate)
		if err == nil || time.Now().After(end) {
			return err
		}
		if text := err.Error(); text != last {
			fmt.Fprintln(os.Stderr, "waiting for the database:", text)
			last = text
		}
	}
}

func run(ctx context.Context, config, path string) error {
	wanted, err := read(path)
	if err != nil {
		return err
	}
	key, err := secret("CLIENT_SECRET_FILE")
	if err != nil {
		return err
	}
	token, err := secret("ACCOUNT_TOKEN_FILE")
	if err != nil {
		return err
	}

	log.SetConsoleLogger(log.DEFAULT, "console", log.WARN)
	setting.InitWorkPathAndCommonConfig(os.Getenv, setting.ArgWorkPathAndCustomConf{CustomConf: config})
	setting.MustInstalled()
	setting.LoadDBSetting()
	setting.InitSQLLoggersForCli(log.ERROR)
	if err := await(ctx); err != nil {
		return fmt.Errorf("the database's tables: %w", err)
	}
	// Pictures of organisations are files.
	if err := storage.Init(); err != nil {
		return fmt.Errorf("the folder of files: %w", err)
	}

	source, err := wanted.SignOn.source(key, setting.Domain)
	if err != nil {
		return err
	}
	if err := ensureSource(ctx, wanted.SignOn.Name, source); err != nil {
		return fmt.Errorf("sign-on %s: %w", wanted.SignOn.Name, err)
	}
	account, err := ensureAccount(ctx, wanted.Account, token)
	if err != nil {
		return fmt.Errorf("account %s: %w", wanted.Account.Name, err)
	}
	for _, organisation := range wanted.Organisations {
		if err := ensureOrganisation(ctx, organisation, account); err != nil {
			return fmt.Errorf("organisation %s: %w", organisation.Name, err)
		}
	}
	fmt.Printf("sign-on %s at %s; account %s; %d organisations\n", wanted.SignOn.Name,
		source.OpenIDConnectAutoDiscoveryURL, account.Name, len(wanted.Organisations))
	return nil
}
