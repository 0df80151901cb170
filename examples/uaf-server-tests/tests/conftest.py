"""What is different at your server goes here: a fixture of the plugin's name takes the place of the plugin's.

@pytest.fixture(scope="session")
def fidoloop_new_user() -> NewUser:
    def new_user() -> str:
        username = f"test-{uuid.uuid4()}"
        my_directory.add(username)
        return username
    return new_user
"""
