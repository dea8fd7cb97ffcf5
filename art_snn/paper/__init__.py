"""The paper's evaluation: experiments, published numbers, tables and figures. Nothing but the commands imports it."""
