package repository_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
)

func TestTwoOffersRaceForOneVersion(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, dsn)
		var releases []repository.Release
		for i := range 6 {
			releases = append(releases, v.version("1.0.0", fmt.Sprint("content ", i)))
		}
		var wg sync.WaitGroup
		errs := make([]error, len(releases))
		for i, r := range releases {
			wg.Go(func() { _, errs[i] = v.Offer(ctx, r, 100, "s") })
		}
		wg.Wait()
		good := 0
		for _, err := range errs {
			if err == nil {
				good++
			} else if !errors.Is(err, fault.Conflict) {
				t.Error(err)
			}
		}
		if h, err := v.Head(ctx, "agent", "stable"); good != 1 || err != nil || len(h.Releases) != 1 || h.Sequence != 1 {
			t.Fatalf("%d won: %+v, %v", good, h, err)
		}
		v.show(nil)
		if h := v.client(v.Dir).head(); h.Releases[0].Files[0].Size != 9 {
			t.Fatalf("%+v", h)
		}
	})
}

func TestSeveralServersRenewOneRepository(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, dsn)
		v.publish("1.0.0", "one")
		c := v.client(v.Dir)
		for range 5 {
			v.now = v.now.Add(13 * time.Hour)
			var wg sync.WaitGroup
			var mu sync.Mutex
			renewed := 0
			for range 4 {
				wg.Go(func() {
					s := *v.Service
					done, err := s.Renew(ctx)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Error(err)
					}
					if done {
						renewed++
					}
				})
			}
			wg.Wait()
			if renewed != 1 {
				t.Fatalf("%d of four renewed", renewed)
			}
			c.head()
		}
	})
}

// card is a P-256 key, as smart cards hold them.
type card struct{ key *ecdsa.PrivateKey }

func (c card) public(t testing.TB) statement.PublicKey {
	k, err := statement.RawKey(&c.key.PublicKey)
	must(t, err)
	return k
}

func (c card) KeyID() string {
	k, _ := statement.RawKey(&c.key.PublicKey)
	return k.ID()
}

func (c card) Sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, c.key, sum[:])
}

func TestAProductIsReleasedWithKeysOnCards(t *testing.T) {
	v := newVendor(t, db(t))
	v.now = time.Now()
	var cards []card
	keys := repository.Keys{Threshold: 2}
	for i := range 3 {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		cards = append(cards, card{k})
		keys.Parties = append(keys.Parties, signing.Party{Public: cards[i].public(t), Holder: fmt.Sprint("holder-", i)})
	}
	v.Release = func(context.Context, string) (repository.Keys, error) { return keys, nil }
	offer := func(ctx context.Context) error {
		_, err := v.Offer(ctx, v.version("1.0.0", "one"), 100, "s")
		return err
	}
	if p, err := v.Publish(ctx, offer, v.roots[0], v.roots[1], cards[0]); err == nil {
		t.Fatalf("one card was enough: %+v", p)
	}
	if _, err := v.Publish(ctx, nil, v.roots[0], v.roots[1], cards[0], cards[2]); err != nil {
		t.Fatal(err)
	}
	c := v.client(v.Dir)
	if got, err := c.get("agent/1.0.0/agent.bin"); string(got) != "one" || err != nil {
		t.Fatal(string(got), err)
	}
	if got, err := v.stranger(c.url).get("agent/1.0.0/agent.bin"); string(got) != "one" || err != nil {
		t.Fatal(string(got), err)
	}
}
