"""Use cases: each public function is one transaction, or a part of the caller's."""
