"""What a call costs in SQL statements does not grow with what there is."""

from benchmarks import api_statements


def test_statements_are_constant_in_the_number_of_rows():
    counted = api_statements.count()
    assert set(counted) >= {"AllocateAddress", "AssociateAddress", "AuthorizeSecurityGroupIngress", "DescribeAddresses"}
    assert {action: found["large"] for action, found in counted.items()} == {
        action: found["small"] for action, found in counted.items()
    }
    # With BEGIN; what may fall, and rise only on purpose.
    assert {action: found["large"] for action, found in counted.items()} == {
        "AllocateAddress": 10,
        "AssociateAddress": 14,
        "AuthorizeSecurityGroupIngress": 10,
        "CreateTags": 7,
        "DescribeAddresses": 3,
        "DescribeSecurityGroups": 5,
        "ModifyNetworkInterfaceAttribute": 14,
    }
