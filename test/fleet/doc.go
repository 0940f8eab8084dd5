// Package fleet holds tests of whole fleets: nodes that are the real binary, in
// network namespaces, with servers that are killed and networks that are cut
// ([edged/test/fleet/rig]). Each test is one thing that goes wrong, and says what
// clients everywhere are answered meanwhile.
//
// The limits of time are those that are promised. They are wide: what the fleet
// takes is measured by bench/failover.
package fleet
