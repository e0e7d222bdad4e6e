package main

import (
	"errors"
	"fmt"
	"strings"

	"b24proxy/proxy/access"
)

// clients are those that may call.
type clients struct{ access.Clients }

// UnmarshalText reads NAME=KEY pairs. The faults name a pair by its place, since any
// part of it may be the key.
func (c *clients) UnmarshalText(text []byte) error {
	place := 0
	return eachPart(text, func(part string) error {
		place++
		name, key, found := strings.Cut(part, "=")
		err := errors.New("write NAME=KEY, such as crm-sync=KEY")
		if found {
			err = c.Add(strings.TrimSpace(name), strings.TrimSpace(key))
		}
		if err != nil {
			return fmt.Errorf("client %d: %w", place, err)
		}
		return nil
	})
}
