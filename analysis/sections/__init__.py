"""The report's sections: what a study holds, as words, tables and figures. Each module has one function, `section`."""
