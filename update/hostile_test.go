package update

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

// begun is a vendor whose 1.0.0 a client has installed.
func begun(t *testing.T, change ...func(*Config)) (*mirror, *Client) {
	t.Helper()
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client(change...)
	update(t, c)
	t.Cleanup(func() {
		if !t.Failed() { // whatever was tried, what was good is still there
			holds(t, c, "1.0.0", lantern("one"))
		}
	})
	return m, c
}

func TestRollbackToAnOlderRepository(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	old := m.copyFiles()
	m.release("1.1.0", lantern("two"))
	c := m.client()
	update(t, c)
	m.files = old
	m.files["log/checkpoint"] = m.Checkpoint() // only the repository is old
	refused(t, c, Rollback, "timestamp.json", "older")
	holds(t, c, "1.1.0", lantern("two"))
}

func TestRollbackToAnOlderLog(t *testing.T) {
	m, c := begun(t)
	old := m.files["log/checkpoint"]
	m.release("1.0.1", lantern("one"))
	m.head.Releases[1].Halted = true
	m.publish()
	update(t, c)
	m.signOnline()
	m.files["log/checkpoint"] = old
	refused(t, c, Rollback, "entries")
}

func TestRollbackOfTheHead(t *testing.T) {
	m, c := begun(t)
	m.head.Sequence = 0 // whoever holds the product's keys signs an older head anew
	m.head.Releases[0].Percent = 50
	m.publish()
	refused(t, c, MixAndMatch, "sequence 1")
	m.head.Sequence = 7
	m.publish()
	update(t, c)
	m.head.Sequence = 2
	m.publish()
	refused(t, c, Rollback, "sequence 3")
}

func TestRollbackOfASkippedRoot(t *testing.T) {
	m, c := begun(t)
	m.files["metadata/2.root.json"] = m.SignRoot(m.tufRoot(3), m.RootKeys[0], m.RootKeys[1])
	m.signOnline()
	refused(t, c, Rollback, "root.json")
}

func TestFreeze(t *testing.T) {
	m, c := begun(t)
	m.Now = m.Now.Add(25 * time.Hour)
	refused(t, c, Freeze, "timestamp.json expired", "stands still")
}

func TestFreezeBehindAClockThatWasSetBack(t *testing.T) {
	m, c := begun(t)
	frozen := m.copyFiles()
	m.Seen, m.Now = m.Seen.Add(72*time.Hour), m.Now.Add(72*time.Hour)
	m.publish()
	update(t, c)
	m.files = frozen
	m.files["log/checkpoint"] = m.Checkpoint()
	m.files["metadata/timestamp.json"] = func() []byte { // newer than seen, but long expired
		m.expires["timestamp"] = -71 * time.Hour
		m.signOnline()
		return m.files["metadata/timestamp.json"]
	}()
	m.Now = m.Now.Add(-72 * time.Hour)
	r := refused(t, c, Freeze, "expired")
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "witnesses") {
		t.Errorf("it does not say that the clock is wrong: %q", r.Notes)
	}
}

func TestAClockThatIsWrongFromTheStartIsSaid(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client(func(cfg *Config) { cfg.Now = func() time.Time { return time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) } })
	if r := update(t, c); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "2001") {
		t.Error(r.Notes)
	}
}

func TestMixAndMatchOfSnapshots(t *testing.T) {
	m, c := begun(t)
	old := m.files["metadata/1.snapshot.json"]
	m.release("1.1.0", lantern("two"))
	m.files[fmt.Sprintf("metadata/%d.snapshot.json", m.versions["snapshot"])] = old
	refused(t, c, MixAndMatch, "snapshot.json")
}

func TestMixAndMatchOfTwoRepositories(t *testing.T) {
	m, c := begun(t)
	m.release("1.1.0", lantern("two"))
	other := newMirror(t)
	other.Keys["rel"] = m.Keys["rel"]
	other.release("1.0.0", lantern("other"))
	other.release("1.1.0", lantern("other"))
	m.files[fmt.Sprintf("metadata/%d.lantern.json", m.versions["lantern"])] = other.files["metadata/2.lantern.json"]
	refused(t, c, MixAndMatch, "lantern.json")
}

func TestMixAndMatchInsideARelease(t *testing.T) {
	for why, change := range map[string]func(m *mirror, o *Offer){
		"a file is left out":          func(m *mirror, o *Offer) { o.Files = o.Files[:1] },
		"two files swap their names":  func(m *mirror, o *Offer) { o.Files[0].Name, o.Files[1].Name = o.Files[1].Name, o.Files[0].Name },
		"another version's files":     func(m *mirror, o *Offer) { o.Files = m.head.Releases[0].Files },
		"another version's log entry": func(m *mirror, o *Offer) { o.Entry = m.head.Releases[0].Entry },
		"the head says other bytes":   func(m *mirror, o *Offer) { o.Files[0].SHA256 = strings.Repeat("ab", 32) },
		"a file that nobody has signed": func(m *mirror, o *Offer) {
			o.Files = append(o.Files, File{Name: "x", SHA256: strings.Repeat("ab", 32), Size: 1})
		},
	} {
		t.Run(why, func(t *testing.T) {
			m, c := begun(t)
			m.release("1.1.0", lantern("two"))
			o := &m.head.Releases[1]
			change(m, o)
			for _, f := range o.Files { // whoever holds the product's keys signs all that is needed
				for _, content := range lantern("two") {
					if f.SHA256 == verifytest.SHA256(content) {
						m.addTarget(FileTarget("lantern", "1.1.0", f.Name), []byte(content))
					}
				}
				for _, content := range lantern("one") {
					if f.SHA256 == verifytest.SHA256(content) {
						m.addTarget(FileTarget("lantern", "1.1.0", f.Name), []byte(content))
					}
				}
			}
			m.bundles(*o)
			m.publish()
			refused(t, c, MixAndMatch)
		})
	}
}

func TestFewerSignaturesThanTheThreshold(t *testing.T) {
	m, c := begun(t)
	m.signers = m.product[:1]
	m.release("1.1.0", lantern("two"))
	refused(t, c, TooFewSigned, "lantern.json", "2 good signatures")
}

func TestARootThatItsPredecessorDidNotSign(t *testing.T) {
	m, c := begun(t)
	m.files["metadata/2.root.json"] = m.SignRoot(m.tufRoot(2), m.RootKeys[0])
	m.signOnline()
	refused(t, c, TooFewSigned, "root.json")
}

// resign changes the product role's file and signs what is above it anew.
func (m *mirror) resign(change func(file map[string]any)) {
	m.t.Helper()
	name := fmt.Sprintf("metadata/%d.lantern.json", m.versions["lantern"])
	var file map[string]any
	if err := json.Unmarshal(m.files[name], &file); err != nil {
		m.t.Fatal(err)
	}
	change(file)
	b, err := json.Marshal(file)
	if err != nil {
		m.t.Fatal(err)
	}
	m.files[name] = b
	m.signOnline()
}

func TestTheSameKeyTwice(t *testing.T) {
	m, c := begun(t)
	m.signers = m.product[:1]
	m.release("1.1.0", lantern("two"))
	m.resign(func(file map[string]any) {
		s := file["signatures"].([]any)
		file["signatures"] = append(s, s[0])
	})
	refused(t, c, SameKeyTwice, "lantern.json")
}

func TestARoleWhoseKeysWereTakenAway(t *testing.T) {
	m, c := begun(t)
	stolen := m.product[:2]
	m.product = []*verifytest.Key{verifytest.NewKey("new 0"), verifytest.NewKey("new 1"), verifytest.NewKey("new 2")}
	m.signers = stolen
	m.release("1.1.0", lantern("two"))
	refused(t, c, RoleRevoked, "taken away")
}

func TestAProductThatNobodyDelegatesToAnyMore(t *testing.T) {
	m, c := begun(t)
	m.release("1.1.0", lantern("two"))
	m.product = m.product[:0]
	m.signAbove(1)
	refused(t, c, RoleRevoked, "lantern")
}

func TestAnExpiredRole(t *testing.T) {
	m, c := begun(t)
	m.expires["lantern"] = -time.Hour
	m.release("1.1.0", lantern("two"))
	refused(t, c, RoleExpired, "lantern.json expired")
}

func TestAnExpiredRoot(t *testing.T) {
	m, c := begun(t)
	m.expires["timestamp"] = 3 * 365 * 24 * time.Hour
	m.signOnline()
	m.Now = m.Now.AddDate(2, 0, 0)
	refused(t, c, RoleExpired, "root of trust expired")
}

func TestAFileThatIsNotInTheLog(t *testing.T) {
	for why, change := range map[string]func(m *mirror, o Offer){
		"no bundle": func(m *mirror, o Offer) { delete(m.targets, BundleTarget("lantern", o.Version, "notes.txt")) },
		"a bundle of another log": func(m *mirror, o Offer) {
			other := verifytest.New(t)
			other.Log.Key = verifytest.NewKey("another log")
			other.Release(verifytest.Plan{Files: lantern("two"), Release: func(r *statement.Release) { r.Version = "1.1.0" }})
			b, _ := other.Bundle().Format()
			m.addTarget(BundleTarget("lantern", o.Version, "notes.txt"), b)
		},
		"a bundle that proves less": func(m *mirror, o Offer) {
			b, _ := m.Bundle(0, 1, 2, 3).Format()
			m.addTarget(BundleTarget("lantern", o.Version, "notes.txt"), b)
		},
		"no bundle at all, but text": func(m *mirror, o Offer) {
			m.addTarget(BundleTarget("lantern", o.Version, "notes.txt"), []byte("{}"))
		},
	} {
		t.Run(why, func(t *testing.T) {
			m, c := begun(t)
			o := m.release("1.1.0", lantern("two"))
			change(m, *o)
			m.publish()
			refused(t, c, NotInLog)
		})
	}
}

func TestAReleaseWithoutAQuorumOfWitnesses(t *testing.T) {
	m, c := begun(t)
	o := m.release("1.1.0", lantern("two"))
	lonely := m.Log.Sign(m.Log.Text(m.Log.Size()), m.Seen, m.Witnesses[0])
	b, _ := m.BundleUnder(lonely).Format()
	for _, f := range o.Files {
		m.addTarget(BundleTarget("lantern", o.Version, f.Name), b)
	}
	m.publish()
	refused(t, c, TooFewWitnesses, "quorum")
	m.files["log/checkpoint"] = lonely
	m.signOnline()
	refused(t, c, TooFewWitnesses, "the log")
}

func TestALogThatForked(t *testing.T) {
	m, c := begun(t)
	other := newMirror(t) // the same keys, another history
	other.release("0.9.0", lantern("for this client only"))
	other.release("1.1.0", lantern("two"))
	other.versions = m.versions
	m.files, m.head, m.targets, m.Vendor.Log = other.files, other.head, other.targets, other.Log
	m.head.Sequence = 9
	m.publish()
	refused(t, c, Fork, "forked")
	if b, err := os.ReadFile(c.state("fork.txt")); err != nil || bytes.Count(b, []byte("— log.lantern.example")) != 2 {
		t.Errorf("there is no evidence: %s %v", b, err)
	}
}

func TestALogThatForkedAtTheSameSize(t *testing.T) {
	m, c := begun(t)
	other := newMirror(t)
	other.release("1.0.0", lantern("other"))
	m.files["log/checkpoint"] = other.files["log/checkpoint"]
	m.signOnline()
	refused(t, c, Fork, "two different states")
}

func TestARevokedRelease(t *testing.T) {
	m, c := begun(t)
	o := m.release("1.1.0", lantern("two"))
	m.head.Revoked = []Withdrawn{{Version: "1.1.0", Entry: o.Entry, Reason: "it deletes files"}}
	m.publish()
	if r := update(t, c); r.Updated {
		t.Fatalf("%+v", r)
	}
	m.head.Revoked = append(m.head.Revoked, Withdrawn{Version: "1.0.0", Entry: m.head.Releases[0].Entry, Reason: "it deletes more"})
	m.publish()
	refused(t, c, Revoked, "1.0.0", "it deletes more")
}

func TestARevocationThatOnlyTheLogTellsOf(t *testing.T) {
	m, c := begun(t)
	o := m.release("1.1.0", lantern("two")) // its bundles are from before
	m.Revoke(o.Entry, "release", "lantern", m.Keys["rel"])
	m.publishLog()
	refused(t, c, Revoked, "1.1.0", "wrong files")
	m.Revoke(m.head.Releases[0].Entry, "release", "lantern", m.Keys["rel"])
	m.head.Releases = m.head.Releases[:1]
	m.publish()
	refused(t, c, Revoked, "1.0.0, which is installed")
}

func TestASignersKeyThatWasRevokedAfterSigning(t *testing.T) {
	m, c := begun(t)
	o := m.release("1.1.0", lantern("two"))
	m.Key(statement.Key{Action: "revoke", Role: "release", Holder: "rel", Products: []string{"lantern"}, Since: o.Entry - 1, Reason: "stolen"}, m.Keys["rel"], m.RootKeys[:2]...)
	m.publishLog()
	refused(t, c, TooFewSigned, "role release")
}

func TestABuildThatStopsBeingReproducible(t *testing.T) {
	m, c := begun(t)
	m.release("1.1.0", lantern("two"), func(p *verifytest.Plan) { p.Rebuilder = "none" })
	refused(t, c, NotReproducible, "1.1.0", "tampered")
	loose := m.client(func(cfg *Config) { cfg.Dir, cfg.Policy.UnsafeUnreproducible = t.TempDir(), true })
	update(t, loose)
	holds(t, loose, "1.1.0", lantern("two"))
}

func TestFewerBuildersThanThePolicyAsksFor(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client(func(cfg *Config) { cfg.Policy.Builders = 3 })
	refused(t, c, TooFewBuilders, "2 different builders", "3 are needed")
	holds(t, c, "", nil)
}

func TestAnotherVersionWithTheSameNumber(t *testing.T) {
	m, c := begun(t)
	m.number = 0
	m.head.Releases = nil
	m.release("1.0.1", lantern("two"))
	refused(t, c, MixAndMatch, "number 1")
}

func TestAMirrorThatAnswers403ForWhatIsNotThere(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	m.hostile = func(w http.ResponseWriter, r *http.Request, name string) bool {
		if _, ok := m.files[name]; !ok {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	c := m.client()
	update(t, c)
	holds(t, c, "1.0.0", lantern("one"))
}

func TestRootKeysAndOnlineKeyAreRotatedBehindTheClientsBack(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	update(t, c)
	stolen := m.online
	m.online = verifytest.NewKey("online 2")
	m.files["metadata/2.root.json"] = m.SignRoot(m.tufRoot(2), m.RootKeys[0], m.RootKeys[1])
	m.release("1.1.0", lantern("two"))
	update(t, c)
	holds(t, c, "1.1.0", lantern("two"))
	fresh := m.client() // has the first root only
	update(t, fresh)
	holds(t, fresh, "1.1.0", lantern("two"))
	m.online = stolen
	m.signOnline()
	refused(t, c, RoleRevoked, "timestamp.json", "taken away")
}

func TestARootThatIsReplacedOnDiskByAnotherVendorsIsNotBelieved(t *testing.T) {
	m, c := begun(t)
	other := m.tufRoot(9)
	other.Clerestory.Vendor = "somebody-else"
	if err := c.write("metadata/root.json", m.SignRoot(other, m.RootKeys[0], m.RootKeys[1])); err != nil {
		t.Fatal(err)
	}
	m.publish()
	update(t, c)
}

func TestALogOfManyTilesIsFollowed(t *testing.T) {
	m, c := begun(t)
	for range 700 {
		m.SaySource(nil)
	}
	m.release("1.0.1", lantern("one"))
	m.head.Releases[1].Percent = 0
	m.publish()
	if r := update(t, c); r.LogSize != m.Log.Size() || len(r.Notes) != 0 {
		t.Fatalf("%+v", r)
	}
	m.Revoke(m.head.Releases[0].Entry, "release", "lantern", m.Keys["rel"])
	m.publish()
	refused(t, c, Revoked, "1.0.0")
}
