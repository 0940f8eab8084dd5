package main

import (
	"crypto/ed25519"
	"fmt"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/health/gossip"
)

func fleetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "what a node of a fleet needs",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(fleetKeyCommand())
	return cmd
}

func fleetKeyCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "key --config FILE",
		Short: "print this node's public key for fleet.members, and make the key if there is none",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(path)
			if c == nil {
				return err // else only what the key does not depend on is wrong: this is how it becomes right
			}
			if c.Fleet.Name == "" {
				return config.Problems{c.Problem("fleet.name", "not given: a node without a fleet has no key")}
			}
			key, err := nodeKey(c)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), gossip.FormatNodeKey(key.Public().(ed25519.PublicKey)))
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.MarkFlagRequired("config")
	return cmd
}
