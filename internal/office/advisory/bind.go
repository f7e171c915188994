package advisory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/statement"
)

// bind reads which version each product id means: by the package URL that its
// helper has. Only the ids that a vulnerability names need one.
func (d *Document) bind(f *Findings) {
	used := map[string]bool{}
	for _, v := range d.csaf.Vulnerabilities {
		for name, list := range v.Status.each {
			for _, id := range list {
				used[id] = used[id] || stateOf[name] != ""
			}
		}
	}
	d.bound = map[string]Version{}
	d.products(func(at string, p product, above branch) {
		if !used[p.ID] {
			return
		}
		if above.Category == "product_version_range" {
			f.add("house", at, "a range of versions names none that could be checked; name exact versions")
			return
		}
		_, product, version, err := statement.ParsePURL(p.Helper.PURL)
		if err != nil {
			f.add("house", at+"/product_identification_helper/purl", "%s", err)
			return
		}
		d.bound[p.ID] = Version{product, version}
	})
	if len(d.bound) > Caps.Versions {
		f.add("house", "/product_tree", "it names %d versions; at most %d are taken in one advisory", len(d.bound), Caps.Versions)
	}
	for i, v := range d.csaf.Vulnerabilities {
		if state, twice := d.states(v); twice != "" {
			f.add("house", fmt.Sprintf("/vulnerabilities/%d/product_status", i), "%s", twice)
		} else if len(state) == 0 {
			f.add("house", fmt.Sprintf("/vulnerabilities/%d/product_status", i), "it says nothing about a version")
		}
	}
}

// states is how each version stands to a vulnerability. Two product ids may mean
// one version (of two systems); then they must agree.
func (d *Document) states(v vulnerability) (map[Version]string, string) {
	all := map[Version]string{}
	for name, list := range v.Status.each {
		for _, id := range list {
			version, ok := d.bound[id]
			if !ok || stateOf[name] == "" {
				continue
			}
			if was := all[version]; was != "" && was != stateOf[name] {
				return nil, fmt.Sprintf("%s %s is %s under one product id and %s under another", version.Product, version.Version, was, stateOf[name])
			}
			all[version] = stateOf[name]
		}
	}
	return all, ""
}

// Versions lists the versions that the document speaks of, sorted.
func (d *Document) Versions() []Version {
	seen := map[Version]bool{}
	var all []Version
	for _, v := range d.bound {
		if !seen[v] {
			all = append(all, v)
		}
		seen[v] = true
	}
	slices.SortFunc(all, func(a, b Version) int {
		return strings.Compare(a.Product+"\n"+a.Version, b.Product+"\n"+b.Version)
	})
	return all
}

// check holds a document against the programme and the releases: it speaks for the
// vendor, about versions that were released, and of files that these hold.
func (s *Service) check(ctx context.Context, d *Document) error {
	p, err := s.Programme(ctx)
	if err != nil {
		return err
	}
	var found Findings
	if ns := d.csaf.Document.Publisher.Namespace; strings.TrimSuffix(ns, "/") != strings.TrimSuffix(p.Vendor.URL, "/") {
		found.add("house", "/document/publisher/namespace", "%q is not the vendor's address in the programme, %s", ns, p.Vendor.URL)
	}
	var failed error
	d.products(func(at string, x product, _ branch) {
		if v, ok := d.bound[x.ID]; ok && failed == nil {
			failed = s.checkProduct(ctx, p, &found, at, x, v)
		}
	})
	if failed != nil {
		return failed
	}
	if len(found) > 0 {
		return fault.Invalid.New("the advisory does not fit what was released: %w", found)
	}
	return nil
}

func (s *Service) checkProduct(ctx context.Context, p *programme.Programme, found *Findings, at string, x product, v Version) error {
	at += "/product_identification_helper"
	if vendor, _, _, err := statement.ParsePURL(x.Helper.PURL); err != nil || vendor != p.Vendor.ID {
		found.add("house", at+"/purl", "the vendor of %s is not %s", x.Helper.PURL, p.Vendor.ID)
		return nil
	}
	files, err := s.Releases.Files(ctx, v.Product, v.Version)
	if errors.Is(err, fault.NotFound) {
		found.add("house", at+"/purl", "%s %s was never released", v.Product, v.Version)
		return nil
	}
	if err != nil {
		return err
	}
	for i, h := range x.Helper.Hashes {
		for _, sum := range h.FileHashes {
			if sum.Algorithm != "sha256" {
				continue
			}
			known := false
			for _, file := range files {
				known = known || strings.EqualFold(file.SHA256, sum.Value)
			}
			if !known {
				found.add("house", fmt.Sprintf("%s/hashes/%d", at, i), "%s %s has no file with the SHA-256 %s", v.Product, v.Version, strings.ToLower(sum.Value))
			}
		}
	}
	return nil
}
