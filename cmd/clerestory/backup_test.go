package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/base/store/storetest"
)

// TestBackupOfPostgreSQL: the dump is in the archive, or the operator is told
// what is missing.
func TestBackupOfPostgreSQL(t *testing.T) {
	dsn := storetest.Postgres(t)
	dir := t.TempDir()
	pass := filepath.Join(dir, "pass")
	if err := os.WriteFile(pass, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"XDG_STATE_HOME": dir, "CLERESTORY_PASSPHRASE_FILE": pass, "CLERESTORY_UNSAFE_KEY_COST": "2"} {
		t.Setenv(name, value)
	}
	command := func(words ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(words, strings.NewReader(""), &out, &out); code != 0 {
			t.Fatalf("clerestory %s: exit code %d: %s", strings.Join(words, " "), code, &out)
		}
		return out.String()
	}
	v, archive := filepath.Join(dir, "v"), filepath.Join(dir, "b.tar.gz")
	command("init", v, "--vendor", "acme", "--name", "Acme", "--url", "https://trust.acme.example", "--product", "agent", "--unsafe-no-witnesses", "--database", dsn)
	command("apply", v, "--yes")
	command("backup", "-C", v, "--out", archive)
	restored := command("restore", archive, filepath.Join(dir, "r"))
	dump, err := os.ReadFile(filepath.Join(dir, "r", dumpFile))
	if err != nil || !bytes.HasPrefix(dump, []byte("PGDMP")) {
		t.Errorf("the archive has no dump of pg_dump: %v", err)
	}
	if !strings.Contains(restored, "pg_restore") {
		t.Errorf("restore does not say how the database comes back: %s", restored)
	}

	// A new database server, the dump in it, and the vendor goes on where it was.
	fresh := storetest.Postgres(t)
	dumped := filepath.Join(dir, "r", dumpFile)
	if out, err := exec.Command("pg_restore", "--exit-on-error", "--clean", "--if-exists", "--no-owner", "--dbname="+fresh, dumped).CombinedOutput(); err != nil {
		t.Fatalf("pg_restore: %v: %s", err, out)
	}
	config := filepath.Join(dir, "r", configFile)
	text, err := os.ReadFile(config)
	if err != nil || !bytes.Contains(text, []byte(dsn)) {
		t.Fatalf("the restored %s does not name the database: %v", configFile, err)
	}
	if err := os.WriteFile(config, bytes.ReplaceAll(text, []byte(dsn), []byte(fresh)), 0o600); err != nil {
		t.Fatal(err)
	}
	command("key", "create", "approver-3", "--role", "approver", "-C", filepath.Join(dir, "r"))
	if said := command("log", "check", "-C", filepath.Join(dir, "r")); !strings.Contains(said, "8 entries") {
		t.Errorf("the restored vendor's log: %s", said)
	}

	t.Setenv("PATH", "")
	if said := command("backup", "-C", v, "--out", filepath.Join(dir, "without.tar.gz")); !strings.Contains(said, "run pg_dump") {
		t.Errorf("without pg_dump the backup says only: %s", said)
	}
}
