"""What an operator sees of OpenNebula's machines and groups."""

GROUP = """<SECURITY_GROUP><ID>5</ID><NAME>db</NAME><TEMPLATE>
<RULE><PROTOCOL>TCP</PROTOCOL><RANGE>5432</RANGE><RULE_TYPE>inbound</RULE_TYPE>{}</RULE></TEMPLATE></SECURITY_GROUP>"""


def test_a_group_is_checked_before_it_is_used(sluice, tmp_path):
    file = tmp_path / "group.xml"
    file.write_text(GROUP.format(""))
    answer = sluice("opennebula", "check", str(file))
    assert (answer.status, answer.err) == (0, "")
    assert "security group 5 (db): 1 rules" in answer.out
    file.write_text(GROUP.format("<SECURITY_GROUP_ID>7</SECURITY_GROUP_ID>"))
    answer = sluice("opennebula", "check", str(file))
    assert answer.status == 1
    assert "names security group 7 as its source" in answer.err


def test_nothing_taken_over_is_an_empty_list(sluice):
    assert sluice("opennebula", "list", "--json").json == []
    answer = sluice("opennebula", "forget", "7")
    assert (answer.status, answer.out) == (0, "VM 7: 0 interfaces forgotten\n")
