package store_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/statement"
)

// Every combination of conditions, with either cursor, finds what reading all
// statements one by one finds.
func TestConditionsTogetherFindWhatReadingAllFinds(t *testing.T) {
	bob := signer{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))}
	storetest.Each(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		ctx := context.Background()
		var all []*statement.Envelope
		for i := range 40 {
			e := envelope(t, i)
			if i%3 == 0 {
				if err := e.AddSignature(bob); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, e)
			if err := db.Write(ctx, func(tx *store.Tx) error {
				_, err := tx.Say(ctx, e, at.Add(time.Duration(i*7%40)*time.Hour)) // not in order: clocks are set
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		low, high := int64(8), int64(31)
		for _, subject := range []string{"", "repo", fmt.Sprintf("%040x", 12), "nobody"} {
			for _, kind := range []string{"", "source", "release"} {
				for _, key := range []string{"", alice.KeyID(), bob.KeyID()} {
					for _, times := range [][2]time.Time{{}, {at.Add(9 * time.Hour)}, {{}, at.Add(20 * time.Hour)}, {at.Add(9 * time.Hour), at.Add(20 * time.Hour)}} {
						for _, cursor := range [][2]*int64{{}, {&high}, {nil, &low}} {
							f := store.Filter{Kind: kind, Subject: subject, Signer: key, From: times[0], To: times[1], Before: cursor[0], After: cursor[1], Limit: 5}
							said, err := db.Find(ctx, f)
							var got []int64
							for _, s := range said {
								got = append(got, s.N)
							}
							if want := byReading(all, f, bob.KeyID()); err != nil || !slices.Equal(got, want) {
								t.Fatalf("%+v: got %v (%v), want %v", f, got, err, want)
							}
						}
					}
				}
			}
		}
	})
}

func byReading(all []*statement.Envelope, f store.Filter, bob string) []int64 {
	var found []int64
	for i := range all {
		n, when := int64(i), at.Add(time.Duration(i*7%40)*time.Hour)
		switch {
		case f.Kind != "" && f.Kind != "source",
			f.Subject != "" && f.Subject != "repo" && f.Subject != fmt.Sprintf("%040x", i),
			f.Signer == bob && i%3 != 0,
			!f.From.IsZero() && when.Before(f.From), !f.To.IsZero() && !when.Before(f.To),
			f.Before != nil && n >= *f.Before, f.After != nil && n <= *f.After:
		default:
			found = append(found, n)
		}
	}
	if f.After != nil {
		found = found[:min(len(found), f.Limit)]
		slices.Reverse(found)
		return found
	}
	slices.Reverse(found)
	return found[:min(len(found), f.Limit)]
}
