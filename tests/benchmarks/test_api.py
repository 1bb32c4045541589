"""What a call costs in SQL statements does not grow with what there is."""

from benchmarks import api_statements


def test_statements_are_constant_in_the_number_of_rows():
    counted = api_statements.count()
    assert set(counted) >= {"AllocateAddress", "AssociateAddress", "AuthorizeSecurityGroupIngress", "DescribeAddresses"}
    assert {action: found["large"] for action, found in counted.items()} == {
        action: found["small"] for action, found in counted.items()
    }
    assert max(found["large"] for found in counted.values()) <= 25
