package witness

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/internal/base/fault"
)

func TestKeyFileIsReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "witness.key")
	made, err := MakeKey(file, "witness.example/w1", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	read, err := ReadKey(file)
	if err != nil || read.VKey() != made.VKey() || read.Name() != "witness.example/w1" {
		t.Fatalf("%v, %v", read, err)
	}
	if _, err := MakeKey(file, "witness.example/w1", rand.Reader); !errors.Is(err, fault.Conflict) {
		t.Errorf("overwrote a key: %v", err)
	}
	// Another implementation reads the same file and is the same witness.
	raw, _ := os.ReadFile(file)
	theirs, err := formats.NewSignerForCosignatureV1(strings.TrimSpace(string(raw)))
	if err != nil || theirs.KeyHash() != made.hash(typeCosignature) {
		t.Errorf("library: %v", err)
	}
	os.Chmod(file, 0o640)
	if _, err := ReadKey(file); !errors.Is(err, fault.Denied) {
		t.Errorf("read a key that others can read: %v", err)
	}
	if _, err := ReadKey(file + "x"); !errors.Is(err, fault.NotFound) {
		t.Errorf("missing key: %v", err)
	}
}

func TestKeysOfOtherTools(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "witness.example/w2")
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(skey)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := formats.VKeyToCosignatureV1(vkey); k.VKey() != want {
		t.Errorf("vkey %s, want %s", k.VKey(), want)
	}
	for _, bad := range []string{"", skey + "x", skey[:len(skey)-4], strings.Replace(skey, "w2", "w3", 1), vkey, skey + "\n"} {
		if _, err := ParseKey(bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "a\nb", strings.Repeat("a", 256)} {
		if _, err := MakeKey(filepath.Join(t.TempDir(), "k"), name, rand.Reader); !errors.Is(err, fault.Invalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestConfigMistakesAreNamed(t *testing.T) {
	l := newLog(t, "log.example")
	for name, change := range map[string]func(*Config){
		"no key":       func(c *Config) { c.Key = nil },
		"no clock":     func(c *Config) { c.Clock = nil },
		"no logs":      func(c *Config) { c.Logs = nil },
		"bad vkey":     func(c *Config) { c.Logs = []string{"log.example+00000000+AAAA"} },
		"twice":        func(c *Config) { c.Logs = append(c.Logs, c.Logs[0]) },
		"own key":      func(c *Config) { c.Logs = []string{ownAsLog(t, c.Key)} },
		"a cosigner":   func(c *Config) { c.Logs = []string{c.Key.VKey()} },
		"long origin":  func(c *Config) { c.Logs = []string{newLog(t, strings.Repeat("a", 256)).vkey} },
		"not a folder": func(c *Config) { c.Dir = filepath.Join(filepath.Dir(c.Dir), "key") },
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t, l)
			change(&c)
			if _, err := New(c); !errors.Is(err, fault.Invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func ownAsLog(t *testing.T, k *Key) string {
	vkey, err := note.NewEd25519VerifierKey("own.example", k.public())
	if err != nil {
		t.Fatal(err)
	}
	return vkey
}

func TestClockBefore1970(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(1, "entry")
	c := testConfig(t, l)
	c.Clock = func() time.Time { return time.Unix(-1, 0) }
	open(t, c).refused(l.request(0, 1), 503, "clock")
}
